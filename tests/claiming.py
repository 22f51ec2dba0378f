"""A driver that only claims cells, from the one of number FIRST on, prints what it got, and waits.

python claiming.py FOLDER URL FIRST COUNT
"""

import sys
from pathlib import Path

from mtlbench.claims import Claims
from mtlbench.store import Runs


def main(folder: str, url: str, first: str, count: str) -> None:
    claims = Claims(Runs(Path(folder), url or None))
    taken: list[str] = []
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(int(first), int(first) + int(count), 10):
        taken += claims.take(f"cell{number % int(count):04}" for number in range(start, start + 10))
    print(" ".join(taken), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs a grid and writes its report: python run_bench.py [GRID] [options of `mtlbench run`]."""

import sys
from pathlib import Path

from mtlbench.cli import main

QUICKSTART = Path(__file__).parent / "grids" / "quickstart.yaml"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("-"):
        arguments = [str(QUICKSTART), *arguments]
    sys.argv[1:] = ["run", *arguments]
    main()

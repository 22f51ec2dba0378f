"""Disturbs a running grid by random faults, and compares what comes out with an undisturbed run.

    python benchmarks/chaos.py [--faults 50] [--cells 30] [--seed 0] [--out docs/reliability.md]

`mtlbench run` is started again whenever it has ended before all is done. Faults come evenly over the work:
one each time so many more steps are done. The runs lie on a file system of their own (tmpfs) where that may
be mounted, else the disk is not filled.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median_high
from typing import Any

from chaos_disturbance import Disturbance
from chaos_faults import DISK, FAULTS, RAY_FAULTS, Faults
from chaos_page import page
from chaos_scene import Scene, compile_shifter, grid

TMPFS = "128m"


@dataclass
class Outcome:
    """What a disturbed run came to, beside an undisturbed one.

    Attributes:
        hits: kinds of faults, and the seconds until what they concerned was further than before.
        lost: cells that were done, and at the end are not, or have other scores.
        wrong: cells whose scores differ from the undisturbed run's by any bit.
        twice: cells that were evaluated again after they had been done.
        strayed: cells whose losses differ in any step, or that noted a step twice or not at all.
        missing: cells that were not done at the end.
        repeated: evaluations whose process was harmed before it had written the result.
        by_hand: times that cells had to be forgiven (`rerun --failed`).
    """

    cells: int
    hits: list[tuple[str, float | None]]
    lost: list[str]
    wrong: list[str]
    twice: list[str]
    strayed: list[str]
    missing: list[str]
    repeated: int
    by_hand: int
    drivers: list[int]
    seconds: float
    remarks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.wrong or self.twice or self.strayed or self.missing or self.by_hand)


@contextmanager
def own_file_system(place: Path) -> Iterator[bool]:
    """Mount one at `place`; whether that was permitted."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=False)


def chaos(
    place: Path,
    *,
    faults: int,
    cells: int,
    seed: int,
    iterations: int = 60,
    kinds: Faults = FAULTS,
    options: Sequence[str] = ("--jobs", "2"),
    calm: Scene | None = None,
) -> Outcome:
    """The undisturbed run, the disturbed one, and what differs.

    Args:
        place: an empty folder.
        faults: how many.
        cells: at least so many.
        seed: of the faults.
        iterations: of each cell.
        kinds: of faults.
        options: of `mtlbench run`.
        calm: an undisturbed run that is there already.
    """
    content = grid(cells, iterations)
    calm = calm or run_calmly(place / "calm", content)
    expected, noted = calm.scores(), calm.losses()
    with own_file_system(place / "disk") as mounted:
        clock, shifter = place / "clock", compile_shifter(place)
        clock.write_text("0\n")
        rough = Scene(place / "rough", place / "disk" / "runs", content, clock, shifter, options)
        usable = {name: found for name, found in kinds.items() if mounted or name != DISK}
        began, draw = time.monotonic(), random.Random(seed)
        disturbance = Disturbance(rough, usable, faults, draw, mounted=mounted, cells=len(expected))
        try:
            disturbance.run()
        finally:
            disturbance.finish()
        seconds = time.monotonic() - began
        found, losses, seen = rough.scores(), rough.losses(), disturbance.seen
        evaluations = sum(event["event"] == "evaluated" for event in rough.told())
    return Outcome(
        cells=len(expected),
        hits=[(hit.kind, hit.seconds) for hit in disturbance.hits],
        lost=sorted(cell for cell in seen if found.get(cell) != seen[cell] or cell in disturbance.changed),
        wrong=sorted(cell for cell in found if found[cell] != expected.get(cell)),
        twice=sorted(disturbance.twice),
        strayed=sorted(cell for cell in found if losses[cell] != noted[cell]),
        missing=sorted(set(expected) - set(found)),
        repeated=evaluations - len(found) - len(disturbance.twice),
        by_hand=disturbance.by_hand,
        drivers=rough.exits,
        seconds=seconds,
        remarks=_remarks(mounted, shifter),
    )


def run_calmly(place: Path, content: dict[str, Any]) -> Scene:
    """The grid without faults."""
    calm = Scene(place, place / "runs", content)
    assert calm.run() == 0, calm.output.read_text()[-3000:]
    return calm


def _remarks(mounted: bool, shifter: Path | None) -> list[str]:
    clock = (
        "the time of day of drivers and cells is shifted by a preloaded library (chaos_clock.c), monotonic "
        "clocks run on; the times of the files of running cells are pushed by as much"
        if shifter is not None
        else "there is no C compiler: only the times of the files of running cells were pushed"
    )
    disk = f"the runs lie on a tmpfs of {TMPFS}" if mounted else "mounting was not permitted: no full disk"
    return [f"Clocks: {clock}.", f"Disk: {disk}."]


def summary(outcome: Outcome) -> str:
    """A Markdown table of the kinds of faults, and the counts."""
    lines = ["| fault | times | seconds until the next progress: median | worst |", "|---|---|---|---|"]
    for kind, times in Counter(kind for kind, _ in outcome.hits).most_common():
        seconds = [s for name, s in outcome.hits if name == kind and s is not None]
        shown = f"{median_high(seconds):.1f} | {max(seconds):.1f}" if seconds else "- | -"
        lines.append(f"| {kind} | {times} | {shown} |")
    counts = {
        "cells": outcome.cells,
        "faults": len(outcome.hits),
        "results lost": len(outcome.lost),
        "results wrong (not bit-identical)": len(outcome.wrong),
        "cells not done at the end": len(outcome.missing),
        "cells run twice to the end": len(outcome.twice),
        "cells whose losses differ in any step": len(outcome.strayed),
        "evaluations repeated since their process was harmed before it wrote the result": outcome.repeated,
        "times that a person was needed (`rerun --failed`)": outcome.by_hand,
        "drivers started": len(outcome.drivers),
        "seconds, disturbed": round(outcome.seconds),
    }
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {count} |" for name, count in counts.items())]
    for name in ("lost", "wrong", "twice", "strayed", "missing"):
        cells = getattr(outcome, name)
        lines += [f"\n{name}: {', '.join(cells)}"] if cells else []
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--cells", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=60, help="of each cell")
    parser.add_argument("--ray-faults", type=int, default=8, help="on 6 cells that Ray runs; 0: none")
    parser.add_argument("--on-ray", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="a file for the counts")
    parser.add_argument("--out", type=Path, help="a page for the results, e.g. docs/reliability.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        asked = {"faults": options.faults, "cells": options.cells, "seed": options.seed}
        if options.on_ray:
            on_ray = {"kinds": RAY_FAULTS, "options": ("--executor", "ray", "--address", "local")}
            outcome = chaos(Path(folder), **asked, iterations=options.iterations, **on_ray)
        else:
            outcome = chaos(Path(folder), **asked, iterations=options.iterations)
        print("\n".join([summary(outcome), *outcome.remarks, f"exit codes of drivers: {outcome.drivers}"]))
        if options.json:
            options.json.write_text(json.dumps(asdict(outcome)))
        parts = [outcome]
        if options.ray_faults and not options.on_ray:
            parts += _on_ray(options.ray_faults, options.seed, Path(folder) / "ray.json")
    if options.out:
        sections = [(part, summary(part)) for part in parts]
        options.out.write_text(page(sections, " ".join(sys.argv[1:]), options.iterations))
    return 0 if all(part.good for part in parts) else 1


def _on_ray(faults: int, seed: int, file: Path) -> list[Outcome]:
    """A smaller part, in a network of its own: Ray's ports are not to be reached."""
    command = [sys.executable, __file__, "--on-ray", "--cells", "6", "--faults", str(faults)]
    command += ["--seed", str(seed), "--json", str(file)]
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    try:
        subprocess.run(alone, check=False, env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"})
    except FileNotFoundError:
        print("there is no `unshare`: nothing was run on Ray")
    return [Outcome(**json.loads(file.read_text()))] if file.exists() else []


if __name__ == "__main__":
    sys.exit(main())

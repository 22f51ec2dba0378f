"""Writes docs/reliability.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Protocol

TEXT = """# Reliability

What happens to a grid when things go wrong, and how that is measured.

## Faults

A result is worth nothing if it depends on what happened while it was computed. So we run a grid twice: once
in peace, and once while random faults hit it, with `mtlbench run` started again whenever it has ended before
all is done. At the end, each cell must have the same scores as in the peaceful run, to the last bit, and the
same losses in each step.

{parts}
What the words mean:

- *lost*: a cell that was done, and is not at the end, or has other scores then;
- *wrong*: a score differs from the undisturbed run's by any bit;
- *run twice to the end*: a cell was evaluated again though its result had been written;
- *next progress*: a cell that the fault concerned has made a step that it had not made before (from another
  process, where its own was killed), or is done; for a corrupted result or index, the file is whole again,
  which is when the next driver starts;
- times are wall times on a busy machine, with cells that pause in every step: they say what recovery takes
  beside training, not how fast training is.

The cells train a network of four convolutions on patches, for {iterations} steps each, with balancers that
have state, in chains (`task_addition`: a cell starts from the one before). They write a checkpoint every 0.2
seconds, so that faults hit the writing, too. Faults overlap: a cell that one has ended may have to wait for
its turn, or for the driver that another one has ended. These numbers come from

    python benchmarks/chaos.py {arguments}

### Limits of this test

- Everything is on one machine and its own file systems: no network file system, no power cut. Files are
  written with `fsync` and renamed; whether a disk keeps that promise is not tested here.
- CPUs only: on GPUs runs are not bit-identical unless kernels are deterministic.
- A bit that flips in memory while a cell runs is not noticed. One that flips in a file is: results and
  failures carry a SHA-256, checkpoints the CRC of each record.
- A result is in its file, in a copy in the cell's folder, and in the index. Where all three are damaged at
  once, the cell is evaluated again from its final checkpoint, which counts as run twice.
- Clocks: {clock} Cells and executors measure time
  with the monotonic clock, and look at file times only to see that they change.

## Malformed grids

`python benchmarks/malformed_grids.py` runs 200 grid files that hold one mistake each through the real
command: broken YAML, tags, keys given twice, anchors that grow without bound, wrong types and unknown keys
anywhere, options of all plugins, numbers out of range, lists whose product is 10^9 cells, plugins that can't
be imported, folders and devices in place of files, malformed `--set`. Each must be answered with exit code 2
and one message that names file and key, within 10 seconds of CPU time (most take a fifth of a second) and
500 MB, without a traceback, and before anything is started or written. All are; `--seed` draws others.

What grid files are, beyond YAML's rules: no key twice; no tags; numbers in decimal notation; `yes`, `no`,
`on`, `off` and dates are text; at most 1 MiB, 50 000 values (with what anchors stand for), 30 levels, 1000
entries of a key and 100 000 trainings.

Not caught: a plugin file that never returns when it is imported, and one that does harm: plugins are code.

Made with Python {python}, torch {torch}, {system}.
"""


class Part(Protocol):
    """What the page needs of an outcome."""

    cells: int
    hits: list[tuple[str, float | None]]
    remarks: list[str]


def page(parts: Sequence[tuple[Part, str]], arguments: str, iterations: int) -> str:
    """The page: a section for each outcome, with its table."""
    titles = ("This machine's own executor", "Ray, a cluster of one machine")
    sections = []
    for (part, table), title in zip(parts, titles, strict=False):
        disk = next((remark for remark in part.remarks if remark.startswith("Disk")), "")
        sections.append(f"### {title}\n\n{len(part.hits)} faults on {part.cells} cells. {disk}\n\n{table}\n")
    clock = next(remark for remark in parts[0][0].remarks if remark.startswith("Clocks"))
    return TEXT.format(
        parts="\n".join(sections),
        iterations=iterations,
        arguments=arguments,
        clock=clock.removeprefix("Clocks: "),
        python=platform.python_version(),
        torch=version("torch"),
        system=platform.platform(terse=True),
    )

"""Time and memory of the selective scan, beside other ways to compute it in plain torch.

* `ours`: `selective_scan`, with the chunks that it chooses; `ours, chunk of N` with others,
  `ours, N segments` with more segments that go on together.
* `recurrence`: one step after the other, differentiated by autograd.
* `doubling`: Hillis and Steele's scan of all steps at once, log2 L times, differentiated by autograd.
* `associative_scan`: torch's own (`torch._higher_order_ops`), in eager mode, or compiled with `--compile`.

One image, K directions, as many channels each, N = 16 states, float32. `infer` is the forward pass without
gradients, `train` forward and backward pass; on a CPU the process's CPU time on one thread, else wall time.
Every row is a process of its own, of which `MB` is the peak memory beside the inputs. Ways that would keep
more than `--limit` GB are left out: `doubling` and `associative_scan` hold all states of the sequence.

    python benchmarks/scan.py [--lengths L ...] [--widths D ...] [--rounds N] [--device cuda] [--compile]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from mtlbench.methods.layers import scan_steps
from mtlbench.methods.layers.scan import selective_scan
from torch import Tensor
from torch.nn import functional as F

from mtlbench.allocation import keep_freed_memory
from mtlbench.profiling.timing import PeakMemory

DIRECTIONS, STATES = 4, 16
GIGABYTE = 2**30


def terms(u: Tensor, delta: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and inputs of all steps: (B, K, L, D, N) each."""
    dt = F.softplus(delta)
    decays = torch.exp(dt.unsqueeze(-1) * a.unsqueeze(1))
    return decays, (dt * u).unsqueeze(-1) * b.unsqueeze(-2)


def read(h: Tensor, u: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """States (B, K, L, D, N) -> (B, K, L, D)."""
    return (h @ c.unsqueeze(-1)).squeeze(-1) + d.unsqueeze(1) * u


def recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """One step after the other; taken apart once: gradients of slices are added at full length each."""
    dt = F.softplus(delta)
    h, found = u.new_zeros(*u.shape[:2], u.shape[3], a.shape[2]), []
    for step, x, given, reads in zip(*(v.unbind(2) for v in (dt, dt * u, b, c)), strict=True):
        h = torch.exp(step.unsqueeze(-1) * a) * h + x.unsqueeze(-1) * given.unsqueeze(-2)
        found.append((h @ reads.unsqueeze(-1)).squeeze(-1))
    return torch.stack(found, 2) + d.unsqueeze(1) * u


def doubling(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Each step hears of 1, 2, 4 ... steps before it."""
    decays, h = terms(u, delta, a, b)
    reach = 1
    while reach < h.shape[2]:
        behind = h[:, :, reach:] + decays[:, :, reach:] * h[:, :, :-reach]
        h = torch.cat([h[:, :, :reach], behind], 2)
        decays = torch.cat([decays[:, :, :reach], decays[:, :, reach:] * decays[:, :, :-reach]], 2)
        reach *= 2
    return read(h, u, c, d)


def associative(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Torch's higher-order operator."""
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return x[0] * y[0], y[0] * x[1] + y[1]

    _, h = associative_scan(combine, terms(u, delta, a, b), 2, combine_mode="generic")
    return read(h, u, c, d)


@dataclass(frozen=True)
class Row:
    """What is measured: a way to compute the scan of `length` steps of `width` channels in all."""

    way: str
    length: int
    width: int
    device: str
    rounds: int
    compiled: bool = False
    chunk: int = 0
    segments: int = 0

    @property
    def states(self) -> float:
        """Gigabytes of all of the sequence's."""
        return self.length * self.width * STATES * 4 / GIGABYTE

    def kept(self, trains: bool) -> float:
        """Gigabytes that autograd, or the way itself, holds at a time, about."""
        if self.way == "ours":
            return 0.0
        if self.way == "recurrence":
            return 4 * self.states if trains else 0.0
        return (4 * self.length.bit_length() if trains else 5) * self.states


WAYS: dict[str, Callable[..., Tensor]] = {
    "ours": selective_scan,
    "recurrence": recurrence,
    "doubling": doubling,
    "associative_scan": associative,
}


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    for length in arguments.lengths:
        for width in arguments.widths:
            given = (length, width, arguments.device, arguments.rounds)
            yield from (Row(way, *given) for way in WAYS)
            if arguments.compile:
                yield Row("associative_scan", *given, compiled=True)
            yield from (Row("ours", *given, chunk=chunk) for chunk in arguments.chunks)
            yield from (Row("ours", *given, segments=segments) for segments in arguments.segments)


def measured(row: Row, limit: float) -> dict[str, tuple[float, float] | None]:
    """What was done -> (seconds, peak MB), each in a process of its own; None where it takes too much."""
    found: dict[str, tuple[float, float] | None] = {}
    for trains in (False, True):
        what = "train" if trains else "infer"
        found[what] = None
        if row.kept(trains) <= limit:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                found[what] = pool.submit(measure, row, trains).result()
    return found


def measure(row: Row, trains: bool) -> tuple[float, float]:
    """The shortest of some rounds, and the peak memory of the first."""
    torch.set_num_threads(1)
    fix_plan(row)
    taken = inputs(row, trains)
    way = torch.compile(WAYS[row.way]) if row.compiled else WAYS[row.way]
    small = [x[:, :, :64].detach() if x.ndim == 4 else x.detach() for x in taken]
    run(WAYS[row.way], [x.requires_grad_(trains) for x in small], row.device)  # what is loaded at first
    if row.compiled:
        run(way, taken, row.device)
    memory = PeakMemory(torch.device(row.device))
    memory.forget()
    seconds = [run(way, taken, row.device)]
    peak = memory.peak_mb()
    keep_freed_memory()
    seconds += [run(way, taken, row.device) for _ in range(row.rounds - 1)]
    return min(seconds), peak


def fix_plan(row: Row) -> None:
    """Chunks and segments other than those chosen."""
    if row.chunk:
        scan_steps.SHORTEST_CHUNK = scan_steps.LONGEST_CHUNK = row.chunk
    if row.segments:
        scan_steps.STEP_SIZE[row.device] = row.segments * row.width * STATES


def inputs(row: Row, trains: bool) -> list[Tensor]:
    """As a network at its start has them: steps around 0.02, decays of 1 to 16 per unit of time."""
    torch.manual_seed(0)
    sequence, dim = (1, DIRECTIONS, row.length), row.width // DIRECTIONS
    u, delta = torch.randn(*sequence, dim), torch.randn(*sequence, dim) - 4
    a = -torch.arange(1.0, STATES + 1).expand(DIRECTIONS, dim, STATES).clone()
    b, c, d = torch.randn(*sequence, STATES), torch.randn(*sequence, STATES), torch.ones(DIRECTIONS, dim)
    return [x.to(row.device).requires_grad_(trains) for x in (u, delta, a, b, c, d)]


def run(way: Callable[..., Tensor], taken: list[Tensor], device: str) -> float:
    """Seconds of one pass; there and back where the inputs need gradients."""
    clock = time.process_time if device == "cpu" else _after_kernels
    start = clock()
    y = way(*taken)
    if taken[0].requires_grad:
        torch.autograd.grad(y.square().mean(), taken)
    return clock() - start


def _after_kernels() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def name(row: Row) -> str:
    if row.chunk:
        return f"ours, chunk of {row.chunk}"
    if row.segments:
        return f"ours, {row.segments} segments"
    return f"{row.way}, compiled" if row.compiled else row.way


def line(row: Row, found: dict[str, Any]) -> str:
    cells = [f"{x[0]:.2f} | {x[1]:.0f}" if x else "- | -" for x in (found["infer"], found["train"])]
    return f"| {row.length} | {row.width} | {name(row)} | {cells[0]} | {cells[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1008, 4032, 16128])
    parser.add_argument("--widths", type=int, nargs="+", default=[384])
    parser.add_argument("--chunks", type=int, nargs="*", default=[])
    parser.add_argument("--segments", type=int, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=float, default=4.0, help="gigabytes")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    print(
        "| L | D | way | infer, s | MB | train, s | MB |\n| ---: | ---: | :--- | ---: | ---: | ---: | ---: |"
    )
    for row in rows(arguments):
        print(line(row, measured(row, arguments.limit)), flush=True)


if __name__ == "__main__":
    main()

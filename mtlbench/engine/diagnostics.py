"""What a balancer did in a step, and what it cost."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

WORST = 1e16
"""Condition numbers are cut here, where float64 knows no more."""


@dataclass(frozen=True)
class Diagnostics:
    """What a balancer did in one step, by task name.

    Attributes:
        weights: of the task gradients, or of the losses; absent where a method has none.
        norms: of the task gradients where they were taken; empty where none were computed.
        cosines: pairs of tasks -> cosine of their gradients; empty where none were computed.
        conflicts: share of the pairs whose cosine is negative.
        condition: condition number of the matrix of cosines, at most 1e16; None where all gradients are 0.
    """

    weights: dict[str, float] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    cosines: dict[tuple[str, str], float] = field(default_factory=dict)
    conflicts: float | None = None
    condition: float | None = None


def diagnose(names: Sequence[str], weights: Tensor | None, gramian: Tensor | None) -> Diagnostics:
    """From weights (T,) and the Gramian (T, T) float64 of the tasks called `names`."""
    named = {} if weights is None else dict(zip(names, weights.detach().tolist(), strict=True))
    if gramian is None or not gramian.isfinite().all():
        return Diagnostics(named)
    norms = gramian.diagonal().clamp(min=0).sqrt()
    cosines = (gramian / torch.outer(norms, norms).clamp(min=1e-300)).clamp(-1, 1)
    values = {
        (names[i], names[j]): float(cosines[i, j])
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }
    conflicts = sum(value < 0 for value in values.values()) / len(values) if values else None
    eigenvalues = torch.linalg.eigvalsh(cosines).tolist()
    smallest, largest = eigenvalues[0], eigenvalues[-1]
    condition = largest / max(smallest, largest / WORST) if largest > 0 else None
    return Diagnostics(named, dict(zip(names, norms.tolist(), strict=True)), values, conflicts, condition)


class Clock:
    """Seconds by what they went into; nothing is measured or waited for unless it is running."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.running = False
        self.seconds: dict[str, float] = defaultdict(float)

    def reset(self, running: bool) -> None:
        self.running = running
        self.seconds.clear()

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        if not self.running:
            yield
            return
        started = self.now()
        try:
            yield
        finally:
            self.seconds[what] += self.now() - started

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

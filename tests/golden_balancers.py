"""Golden cases of balancers: task gradients, sequences of losses, and what published code gave.

The cases stand in `tests/golden/balancers`, or in the folder `balancers` of what MTLBENCH_GOLDEN names. Who
checks what is said by the `READERS_*` tables: a result that no reader knows fails.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from golden_cases import ROOT
from torch import Tensor

from mtlbench.balancing import Step
from mtlbench.tasks import Task, depth

FILES = sorted((ROOT / "balancers").glob("*.json"))


@dataclass(frozen=True)
class Case:
    """One file; `results` are what published implementations gave."""

    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content

    @property
    def kind(self) -> str:
        """`gram` for one matrix, else the kind of sequence."""
        return self.content.get("kind", "gram")

    @property
    def count(self) -> int:
        """Number of tasks."""
        return int(self.content["T"])

    @cached_property
    def rows(self) -> Tensor:
        """Task gradients (T, D) float64."""
        return torch.tensor(self.content["G"], dtype=torch.float64)

    @property
    def gramian(self) -> Tensor:
        """K (T, T) float64."""
        return self.rows @ self.rows.T

    @property
    def losses(self) -> Tensor:
        """(T,) float64."""
        return torch.tensor(self.content["losses"], dtype=torch.float64)

    def step(self) -> Step:
        return make_step(self.losses)


Reader = Callable[[Case, str, Any], None]
"""Checks one result of a `gram` case or of a sequence of gradients: (case, key of the result, the result)."""
SequenceReader = Callable[[Case], None]
"""Checks a whole sequence of losses."""


def tasks(count: int) -> dict[str, Task]:
    """Balancers ask a task for its name only."""
    return {f"task{i}": depth() for i in range(count)}


def make_step(losses: Tensor, index: int = 0, epoch: int = 0) -> Step:
    return Step(index, epoch, torch.arange(len(losses)), losses.detach(), torch.Generator().manual_seed(0))


def vector(values: list[Any]) -> Tensor:
    """float64; `nan` and `inf` are kept as strings in the files."""
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


def assert_close(found: Tensor, expected: list[Any], tolerance: float, what: str = "") -> None:
    """Within `tolerance` times the largest expected magnitude."""
    reference = vector(expected)
    error = float((found.double() - reference).abs().max())
    assert error <= tolerance * float(reference.abs().max()), f"{what}: off by {error}, {found} {reference}"

"""A cell's run folder: the truth about it. A cell is done when, and only when, its `result.json` is whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.spec import Cell, Execution

if TYPE_CHECKING:
    from mtlbench.tasks import Task

M = TypeVar("M", bound=BaseModel)
State = Literal["new", "interrupted", "running", "failed", "done"]
FailureKind = Literal["diverged", "out_of_memory", "data", "input", "killed", "error"]


class TaskRecord(BaseModel):
    """How a task's primary metric is shown and compared."""

    metric: str
    heading: str
    higher_is_better: bool
    scale: float

    @classmethod
    def of(cls, task: Task) -> TaskRecord:
        return cls(
            metric=task.primary,
            heading=task.column,
            higher_is_better=task.higher_is_better,
            scale=task.scale,
        )


class Costs(BaseModel):
    """What a cell took. Wall time; memory is of the process on a CPU, of the device on a GPU."""

    parameters: int
    trainable: int
    macs: int
    input_size: tuple[int, int]
    train_seconds: float
    images_per_second: float
    evaluate_seconds: float
    peak_memory_mb: float


class Balancing(BaseModel):
    """How a balancer was carried out; no fields are set for one that needs losses only.

    Attributes:
        at: where task gradients were taken.
        every: steps between two times that weights were found.
        shared_parameters: how many numbers more than one task trains.
        passes: how task gradients went through the backbone, `sequential` or `batched`.
        implied_layers: layers whose task gradients were never written out.
        gradient_memory_mb: most that was held for task gradients at one time.
        failures: steps in which the balancer had no solution, and kept the weights that it had.
    """

    at: str | None = None
    every: int = 1
    shared_parameters: int | None = None
    passes: str | None = None
    implied_layers: int = 0
    gradient_memory_mb: float = 0.0
    failures: int = 0


class Result(BaseModel):
    """What a finished cell leaves: `result.json`."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="constants")

    cell: Cell
    tasks: dict[str, TaskRecord]
    scores: dict[str, dict[str, float]]
    selection: Literal["last"] = "last"
    images: dict[str, int]
    costs: Costs
    balancing: Balancing = Balancing()
    fingerprints: dict[str, str]
    data_checksums: dict[str, str | None] = {}
    provenance: dict[str, Any]


class Failure(BaseModel):
    """Why a cell stopped: `failure.json`."""

    kind: FailureKind
    message: str
    details: str = ""
    fingerprints: dict[str, str] = {}


class Job(BaseModel):
    """All that the process of one cell is told."""

    cell: Cell
    folder: Path
    execution: Execution = Execution()
    plugins: tuple[str, ...] = ()


class RunFolder:
    """Paths and atomic files of one cell under `RUNS/cells/ID`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log.txt"
        self.history = path / "history.jsonl"
        self.checkpoint = path / "checkpoint" / "last.pt"
        self.predictions = path / "predictions"
        self.job = path / "job.json"
        self._result = path / "result.json"
        self._failure = path / "failure.json"

    def create(self, job: Job) -> None:
        """Make the folder, with the cell in readable form and the job for its process."""
        self.path.mkdir(parents=True, exist_ok=True)
        cell = job.cell.model_dump(mode="json")
        write_atomically(self.path / "cell.yaml", yaml.safe_dump(cell, sort_keys=False))
        write_atomically(self.job, job.model_dump_json(indent=1))

    def state(self) -> State:
        if self.result() is not None:
            return "done"
        if self.locked():
            return "running"
        if self._failure.exists():
            return "failed"
        return "interrupted" if self.checkpoint.exists() else "new"

    def result(self) -> Result | None:
        """The result, or None where there is none or it is not whole."""
        return _read(self._result, Result)

    def failure(self) -> Failure | None:
        return _read(self._failure, Failure)

    def finish(self, result: Result) -> None:
        write_atomically(self._result, result.model_dump_json(indent=1))
        self._failure.unlink(missing_ok=True)

    def fail(self, failure: Failure) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._failure, failure.model_dump_json(indent=1))

    def forgive(self) -> None:
        """Let a failed cell run again; it goes on from its last checkpoint."""
        self._failure.unlink(missing_ok=True)

    def log_end(self, lines: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def last_line(self) -> dict[str, Any] | None:
        """The newest whole line of `history.jsonl`."""
        if not self.history.exists():
            return None
        with self.history.open("rb") as file:
            file.seek(max(0, self.history.stat().st_size - 8192))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else None

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Held while a process works on the cell; yields False where another one does."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def locked(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        with self.lock() as free:
            return not free


def write_atomically(path: Path, text: str) -> None:
    """Either the old file or the whole new one, whenever the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path: Path, model: type[M]) -> M | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None

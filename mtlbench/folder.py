"""A cell's run folder: the truth about it. A cell is done when, and only when, its `result.json` is whole."""

from __future__ import annotations

import fcntl
import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.files import clean_leftovers, seal, set_aside, unseal, write_atomically
from mtlbench.spec import Cell, Execution
from mtlbench.step_lines import StepLines

if TYPE_CHECKING:
    from mtlbench.tasks import Task

M = TypeVar("M", bound=BaseModel)
State = Literal["new", "interrupted", "running", "failed", "pruned", "done"]
FailureKind = Literal[
    "diverged",
    "out_of_memory",
    "data",
    "input",
    "killed",
    "error",
    "timeout",
    "stuck",
    "lost",
    "disk_full",
    "pruned",
]
"""`killed`: the process ended without a word; `stuck`: no sign of life any more; `lost`: its machine went;
`pruned`: it was not worth going on, which nobody has to mend."""

LOCK_INTERVAL = 0.1
"""Seconds between two tries to get a lock that another process holds."""

log = logging.getLogger(__name__)


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
    """What a cell took. Wall time; memory is of the process on a CPU, of the device on a GPU.

    `macs` are those that the network does, `module_macs` those that published tables would print; of
    `trainable` parameters some are in the encoder, adapters included; `encoder_passes` are images that enter
    it for one (`mtlbench.profiling`). None: not counted when the cell ran.
    """

    parameters: int
    trainable: int
    macs: int
    module_macs: int | None = None
    encoder_trainable: int | None = None
    decoder_trainable: int | None = None
    encoder_passes: int | None = None
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
    """What a finished cell leaves: `result.json`.

    `images` are the numbers of `train` images and of those that were scored: `val`, or `held_out` ones.
    """

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="constants")

    cell: Cell
    tasks: dict[str, TaskRecord]
    scores: dict[str, dict[str, float]]
    selection: Literal["last"] = "last"
    images: dict[str, int]
    costs: Costs
    balancing: Balancing = Balancing()
    findings: dict[str, Any] = {}
    started_from: dict[str, Any] = {}
    caveats: list[str] = []
    fingerprints: dict[str, str]
    data_checksums: dict[str, str | None] = {}
    provenance: dict[str, Any]


class Failure(BaseModel):
    """Why a cell stopped: `failure.json`."""

    kind: FailureKind
    message: str
    details: str = ""
    fingerprints: dict[str, str] = {}

    @property
    def state(self) -> State:
        """Of the cell that stopped."""
        return "pruned" if self.kind == "pruned" else "failed"


class Job(BaseModel):
    """All that the process of one cell is told.

    Attributes:
        accumulate: micro-batches of a batch, where the recipe's did not fit into memory.
    """

    cell: Cell
    folder: Path
    execution: Execution = Execution()
    plugins: tuple[str, ...] = ()
    accumulate: int | None = None


class _Inside:
    """A path in the folder, put together when it is asked for: reports make thousands of folders."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, folder: RunFolder, owner: type) -> Path:
        return folder.path.joinpath(*self.parts)


class RunFolder:
    """Paths and atomic files of one cell under `RUNS/cells/ID`.

    Attributes:
        pruning: whether the cell was asked to end, when it last showed life.
    """

    log = _Inside("log.txt")
    history = _Inside("history.jsonl")
    evaluations = _Inside("evaluations.jsonl")
    checkpoint = _Inside("checkpoint", "last.pt")
    weights = _Inside("checkpoint", "final.pt")
    predictions = _Inside("predictions")
    job = _Inside("job.json")
    alive = _Inside("alive")
    _result = _Inside("result.json")
    _copy = _Inside("checkpoint", "result.json")
    _failure = _Inside("failure.json")
    _prune = _Inside("prune")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._history, self._evaluations = StepLines(self.history), StepLines(self.evaluations)
        self._shown_life = -math.inf
        self.pruning = False

    def create(self, job: Job) -> None:
        """Make the folder, with the cell in readable form and the job for its process."""
        self.path.mkdir(parents=True, exist_ok=True)
        cell = job.cell.model_dump(mode="json")
        write_atomically(self.path / "cell.yaml", yaml.safe_dump(cell, sort_keys=False), sync=False)
        write_atomically(self.job, job.model_dump_json(indent=1), sync=False)

    def beside(self, cell: Cell) -> RunFolder:
        """The folder of another cell of the same runs."""
        return RunFolder(self.path.parent / cell.id)

    def state(self) -> State:
        if self.result() is not None:
            return "done"
        if self.locked():
            return "running"
        if (failure := self.failure()) is not None:
            return failure.state
        return "interrupted" if self.checkpoint.exists() else "new"

    def result(self) -> Result | None:
        """The result, or None where there is none or it is damaged."""
        return _read(self._result, Result)

    def failure(self) -> Failure | None:
        return _read(self._failure, Failure)

    def finish(self, result: Result) -> None:
        """The last thing that a cell does; a copy of the result goes before it.

        Raises:
            OSError: the result could not be written.
        """
        sealed = seal(result.model_dump_json(indent=1))
        write_atomically(self._copy, sealed)
        self.restore(sealed)
        previous(self.checkpoint).unlink(missing_ok=True)

    def restore(self, sealed: str) -> None:
        """Write the text of a result's file as it is."""
        write_atomically(self._result, sealed)
        self._failure.unlink(missing_ok=True)

    def fail(self, failure: Failure) -> None:
        """Note why the cell failed; where even that can't be written, the log says it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self._failure, seal(failure.model_dump_json(indent=1)))
        except OSError as error:
            reason = f"{failure.kind}: {failure.message}"
            log.error("%s can't be written (%s); the cell failed: %s", self._failure, error, reason)

    def forgive(self) -> None:
        """Let a failed or pruned cell run again; it goes on from its last checkpoint."""
        self._prune.unlink(missing_ok=True)
        self.try_again()

    def try_again(self) -> None:
        """The same, but a wish that it be pruned stays."""
        self._failure.unlink(missing_ok=True)

    def ask_to_prune(self) -> None:
        """Let the cell's process end within about a second, or as soon as it starts."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._prune.touch()

    def asked_to_prune(self) -> bool:
        return self._prune.exists()

    def tidy(self) -> None:
        """Set damaged files aside and remove what killed processes left; its caller holds the lock.

        A result that is damaged or missing comes back from its copy.
        """
        clean_leftovers(self.path, (self._result.name, self._failure.name))
        clean_leftovers(self.checkpoint.parent, ("*.pt", self._copy.name))
        for file, model in ((self._result, Result), (self._failure, Failure)):
            if file.exists() and _read(file, model) is None:
                set_aside(file)
        if not self._result.exists() and _read(self._copy, Result) is not None:
            self.restore(self._copy.read_text(encoding="utf-8"))
            log.warning("%s had lost its result: restored from its copy", self.path)

    def show_life(self) -> None:
        """Called after every step and evaluated batch: executors end a cell that stops calling it."""
        now = time.monotonic()
        if now - self._shown_life > 1:
            with suppress(OSError):  # a full disk: others see no life, but the cell may end in time
                self.alive.touch()
            self._shown_life = now
            self.pruning = self.asked_to_prune()

    def note(self, line: dict[str, Any]) -> None:
        """Append to `history.jsonl`."""
        self._history.append(line)

    def note_evaluation(self, step: int, scores: Mapping[str, float]) -> None:
        """Append to `evaluations.jsonl`: task -> primary score after so many steps; once for each step."""
        self._evaluations.cut(step - 1)
        self._evaluations.append({"step": step, "scores": dict(scores)})

    def cut_history(self, step: int) -> None:
        """Drop the lines of both files that came after a step, and what is no whole line."""
        self._history.cut(step)
        self._evaluations.cut(step)

    def log_end(self, lines: int = 15) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def last_line(self) -> dict[str, Any] | None:
        """The newest whole line of `history.jsonl`."""
        return self._history.last()

    def last_evaluation(self) -> dict[str, Any] | None:
        """The newest whole line of `evaluations.jsonl`."""
        return self._evaluations.last()

    @contextmanager
    def lock(self, wait: float = 0.0) -> Iterator[bool]:
        """Held while a process works on the cell; yields False where another one does.

        The file holds the name of the machine that had it last.

        Args:
            wait: seconds that the other one has for letting go.
        """
        deadline = time.monotonic() + wait
        with (self.path / "lock").open("ab", buffering=0) as file:
            while not (free := _lock(file, fcntl.LOCK_EX)) and time.monotonic() < deadline:
                time.sleep(LOCK_INTERVAL)
            if free:
                with suppress(OSError):  # a full disk: then nobody knows
                    file.truncate(0)
                    file.write(socket.gethostname().encode())
            yield free

    def host(self) -> str:
        """The machine that worked on the cell last; empty where that is not known."""
        try:
            return (self.path / "lock").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def locked(self) -> bool:
        try:
            with (self.path / "lock").open("rb") as file:
                return not _lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False


def previous(checkpoint: Path) -> Path:
    """Where the checkpoint before the last one is kept while a cell runs."""
    return checkpoint.with_name(f"previous-{checkpoint.name}")


def read_result(data: bytes) -> Result | None:
    """A result from the content of its file; None where it is damaged."""
    return _parse(data, Result)


def read_failure(data: bytes) -> Failure | None:
    """The same for the content of `failure.json`."""
    return _parse(data, Failure)


def _lock(file: IO[Any], how: int) -> bool:
    """Let go when the file is closed."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path, model: type[M]) -> M | None:
    try:
        return _parse(path.read_bytes(), model)
    except FileNotFoundError:
        return None


def _parse(data: bytes, model: type[M]) -> M | None:
    content = unseal(data, last_keys=tuple(model.model_fields))
    try:
        return None if content is None else model.model_validate(content)
    except ValidationError:
        return None


def read_job(path: Path) -> Job:
    """The job file that a driver wrote.

    Raises:
        MtlbenchError: it can't be read.
    """
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MtlbenchError(f"job file {path} can't be read: {error}") from error

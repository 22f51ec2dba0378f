"""Studies on cells that only pretend to train: what they score follows from the weights of their tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from cells_factory import make_result
from conftest import TINY_PLUGINS

from mtlbench.claims import Claims
from mtlbench.config import load_grid
from mtlbench.driver import Progress
from mtlbench.executors.base import Event
from mtlbench.folder import Failure, Job, Result, RunFolder, TaskRecord
from mtlbench.registry import Registry, registry
from mtlbench.search.plans import StudyPlan, studies_of
from mtlbench.spec import Cell, Execution
from mtlbench.store import Runs
from mtlbench.studies.storage import open_storage
from mtlbench.studies.study import Study
from mtlbench.studies.worker import Worker

BEST = 3.0
"""The ratio of the weights of depth and semseg that scores best."""
STEPS = (2, 4, 6, 8)
"""Training steps after which cells are scored."""

Act = Callable[[Job], Failure | None]


def gain_of(cell: Cell) -> float:
    """Relative gain over the baseline; 0 for the baseline itself."""
    if cell.method.name == "single_task":
        return 0.0
    weights = cell.balancer.options.get("weights", {"semseg": 1.0, "depth": 1.0})
    off = math.log(weights["depth"] / weights["semseg"] / BEST)
    return 0.5 * math.exp(-(off**2)) + 0.001 * (cell.seed % 7)


def scores_of(cell: Cell) -> dict[str, float]:
    gain = gain_of(cell)
    found = {"semseg": 0.5 * (1 + gain), "depth": 1 - gain}
    return {task: found[task] for task in cell.tasks}


class PretendingExecutor:
    """Each running cell takes a step a poll, and ends after the last one.

    Args:
        jobs: cells at a time.
        act: may let a cell fail, at its start.
    """

    def __init__(self, jobs: int = 1, act: Act = lambda job: None) -> None:
        self.jobs, self.act = jobs, act
        self.waiting: list[Job] = []
        self.running: dict[str, tuple[Job, list[int]]] = {}
        self.started: list[Cell] = []
        self.steps = 0

    def room(self) -> int:
        return len(self.running) + 2 - len(self.waiting)

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def poll(self) -> list[Event]:
        events = [event for name in list(self.running) for event in self._step(name)]
        while self.waiting and len(self.running) < self.jobs:
            job = self.waiting.pop(0)
            RunFolder(job.folder).create(job)
            self.started.append(job.cell)
            self.running[job.cell.id] = (job, list(STEPS))
            events.append(Event(job.cell.id, "started"))
        return events

    def _step(self, name: str) -> list[Event]:
        job, left = self.running[name]
        folder, failure = RunFolder(job.folder), self.act(job)
        if folder.asked_to_prune():
            failure = Failure(kind="pruned", message="it was asked to end")
        if failure is not None:
            folder.fail(failure)
        elif left:
            self.steps += 1
            step = left.pop(0)
            if job.execution.evaluate_every:
                folder.note_evaluation(step, scores_of(job.cell))
            return []
        else:
            folder.finish(result_of(job.cell))
        del self.running[name]
        return [Event(name, "finished", 0 if failure is None else 1)]

    def wait(self, seconds: float) -> None:
        pass

    def idle(self) -> bool:
        return not self.waiting and not self.running

    def cancel(self) -> None:
        self.waiting, self.running = [], {}

    def close(self) -> None:
        pass


def result_of(cell: Cell) -> Result:
    tasks = registry.load("dataset", cell.dataset.name).tasks
    records = {task: TaskRecord.of(tasks[task]) for task in cell.tasks}
    scores = {task: {records[task].metric: value} for task, value in scores_of(cell).items()}
    return make_result(cell).model_copy(update={"tasks": records, "scores": scores})


class StudyBench:
    """A folder of runs with one study; `work` is a call of the command."""

    def __init__(self, folder: Path, registry: Registry, url: str | None = None, **tune: Any) -> None:
        self.runs, self._url = Runs(folder / "runs", url), url
        content = {
            "name": "tiny",
            "plugins": [str(TINY_PLUGINS)],
            "dataset": "tiny",
            "tasks": ["semseg", "depth"],
            "backbone": "tiny",
            "method": "troubled",
            "balancer": "equal",
            "seed": [0, 1],
            "baseline": "single_task",
            "recipe": {"iterations": STEPS[-1], "batch_size": 4},
            "tune": {"trials": 6, **tune},
        }
        self.file = folder / "grid.yaml"
        self.file.write_text(yaml.safe_dump(content))
        self.grid = load_grid(self.file, registry)
        self.plan: StudyPlan = studies_of(self.grid, registry)[0]

    def study(
        self,
        trials: int = 6,
        *,
        fresh: bool = False,
        storage: str | None = None,
        claims: Claims | None = None,
    ) -> Study:
        place = open_storage(storage, self.runs.root, self._url)
        claims = claims or Claims(self.runs)
        return Study(self.plan, "tiny", place, self.runs, claims, trials=trials, fresh=fresh)

    def worker(self, study: Study, executor: PretendingExecutor, claims: Claims) -> Worker:
        execution = Execution(retries=0)
        return Worker([study], executor, self.runs, execution, (), claims, cells_at_once=executor.jobs)

    def work(
        self, trials: int = 6, executor: PretendingExecutor | None = None, **study: Any
    ) -> tuple[Study, Worker, PretendingExecutor]:
        """Until the study has its trials."""
        executor = executor or PretendingExecutor()
        claims = Claims(self.runs)
        made = self.study(trials, claims=claims, **study)
        worker, polls = self.worker(made, executor, claims), 0

        def watch(progress: Progress) -> None:
            nonlocal polls
            polls += 1
            assert polls < 2000, progress

        worker.run(watch)
        claims.release()
        return made, worker, executor

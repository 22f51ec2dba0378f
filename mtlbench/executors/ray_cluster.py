"""Runs cells on the nodes of a Ray cluster, which share a file system."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from mtlbench.errors import MtlbenchError
from mtlbench.executors import ray_nodes
from mtlbench.executors.base import Event
from mtlbench.executors.ray_nodes import Need, Nodes
from mtlbench.executors.ray_task import News, describe_node, differences, run_job
from mtlbench.executors.supervised import GRACE_SECONDS
from mtlbench.folder import Failure, Job, RunFolder

_PASSED_ON = ("MTLBENCH_", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
"""Beginnings of the names of environment variables that cells have from the driver."""
_LOOK_SECONDS = 5.0
"""Between two looks at the nodes."""
_NODE_SECONDS = 120.0
"""How long all nodes together may take to say what is installed on them."""

log = logging.getLogger(__name__)


class RayExecutor:
    """One Ray task a cell, which starts the cell's process and looks after it.

    Ray places the tasks and hands out GPUs; it tries nothing again. A cell whose node or worker is gone ends
    by itself, and is reported as lost.

    Args:
        address: of the cluster, as for `ray_nodes.connect`.

    Raises:
        MtlbenchError: no such cluster, or nodes that differ from this machine.
    """

    def __init__(self, *, address: str | None = None) -> None:
        self._ray = ray_nodes.connect(address)
        self._nodes = Nodes(self._ray.nodes())
        self._looked = time.monotonic()
        self._versions = describe_node()
        self._check_nodes()
        self._task: Any = self._ray.remote(run_job)
        self._environment = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        self._tasks: dict[Any, str] = {}
        self._places: dict[str, str] = {}
        self._need: Need | None = None

    def submit(self, job: Job) -> None:
        """Hand the job to Ray.

        Raises:
            MtlbenchError: no node will ever have room for it.
        """
        self._need = need = self._nodes.need(job.execution)
        self._nodes.check(need)
        execution = job.execution.model_copy(update={"threads": self._nodes.threads(job.execution)})
        folder = RunFolder(job.folder.absolute())
        folder.create(job.model_copy(update={"execution": execution, "folder": folder.path}))
        task = self._task.options(
            name=job.cell.id,
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            memory=need.memory or None,
            max_retries=0,
            scheduling_strategy="SPREAD",
        )
        running = task.remote(str(folder.job), str(Path.cwd()), self._environment, self._versions)
        self._tasks[running] = job.cell.id

    def room(self) -> int:
        """So many that Ray always has one waiting for each that runs."""
        if self._need is None:
            return 1
        return max(0, 2 * max(1, self._nodes.slots(self._need)) - len(self._tasks))

    def poll(self) -> list[Event]:
        self._look_at_nodes()
        return [self._hear(task) for task in self._ready(len(self._tasks), 0.0)]

    def wait(self, seconds: float) -> None:
        """Until a task has something to say, at most so long."""
        if self._tasks:
            self._ready(1, seconds)
        else:
            time.sleep(seconds)

    def idle(self) -> bool:
        return not self._tasks

    def cancel(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task)
        self._wait_until_gone(GRACE_SECONDS + 15)
        for task in self._tasks:
            self._ray.cancel(task, force=True)  # the cell's keeper ends it then
        self._wait_until_gone(15)
        self._tasks.clear()

    def close(self) -> None:
        self._ray.shutdown()

    def _wait_until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._tasks and time.monotonic() < deadline:
            for task in self._ready(1, 1.0):
                self._hear(task)

    def _ready(self, count: int, seconds: float) -> list[Any]:
        """Tasks that have something to say."""
        if not self._tasks:
            return []
        ready: list[Any] = self._ray.wait(list(self._tasks), num_returns=count, timeout=seconds)[0]
        return ready

    def _hear(self, task: Any) -> Event:
        """The next news of a task, which has some; one that has ended is forgotten."""
        cell = self._tasks[task]
        try:
            news: News = self._ray.get(next(task))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            news = {"failure": self._why(error, self._places.get(cell)).model_dump_json()}
        if "node" in news:
            self._places[cell] = news["node"]
            return Event(cell, "started")
        del self._tasks[task]
        self._places.pop(cell, None)
        text = news["failure"]
        failure = Failure.model_validate_json(text) if text else None
        return Event(cell, "finished", news.get("exit_code"), failure)

    def _why(self, error: Exception, place: str | None) -> Failure:
        """What became of a task that did not come to its end."""
        exceptions, text, node = (
            self._ray.exceptions,
            str(error).strip(),
            place or "a node of the Ray cluster",
        )
        if isinstance(error, exceptions.OutOfMemoryError):
            return Failure(kind="out_of_memory", message=f"{node} had no main memory left", details=text)
        if isinstance(error, exceptions.RayTaskError) and not isinstance(
            error, exceptions.TaskCancelledError
        ):
            message = f"its process could not be looked after on {node}"
            return Failure(kind="error", message=message, details=text)
        message = f"contact was lost to {node} ({type(error).__name__})"
        return Failure(kind="lost", message=message, details=text)

    def _look_at_nodes(self) -> None:
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        had_room = self._need is None or self._nodes.slots(self._need) > 0
        self._nodes.update(self._ray.nodes())
        if had_room and self._need is not None and not self._nodes.slots(self._need):
            log.warning("no node with %s is left in the Ray cluster: waiting for one", self._need)

    def _check_nodes(self) -> None:
        """All that have work for cells run the same versions as this machine.

        Raises:
            MtlbenchError: naming every node that does not, and what differs.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe: Any = self._ray.remote(describe_node)
        asked = {}
        for node, name in self._nodes.working.items():
            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
            asked[probe.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy).remote()] = name
        answered, silent = self._ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
        wrong = [f"{asked[answer]}: it does not answer" for answer in silent]
        for answer in answered:
            try:
                differing = differences(self._versions, self._ray.get(answer))
            except self._ray.exceptions.RayError as error:
                differing = f"mtlbench does not run there: {str(error).strip().splitlines()[-1]}"
            if differing:
                wrong.append(f"{asked[answer]}: {differing}")
        if wrong:
            self._ray.shutdown()
            raise MtlbenchError(
                "nodes of the Ray cluster differ from this machine: " + "; ".join(sorted(wrong))
            )

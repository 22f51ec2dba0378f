"""One cell, from its job file to its result: the whole life of a cell's process."""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric

from mtlbench import evaluation, profiling, provenance
from mtlbench.allocation import keep_freed_memory
from mtlbench.building import (
    build_balancer,
    build_network,
    evaluation_images,
    learned_tasks,
    training_images,
)
from mtlbench.data import Dataset, unpack
from mtlbench.errors import CellFailed, DataError, MtlbenchError
from mtlbench.executors.base import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from mtlbench.files import full_disk, is_full
from mtlbench.fingerprints import fingerprints, start_fingerprint
from mtlbench.folder import Costs, Failure, FailureKind, Job, Result, RunFolder, TaskRecord
from mtlbench.frozen import frozen_checksums
from mtlbench.loading import evaluation_batches
from mtlbench.model import Method
from mtlbench.profiling.timing import peak_resident_bytes
from mtlbench.ranks import local_rank
from mtlbench.registry import registry
from mtlbench.spec import Cell
from mtlbench.starting import take_start
from mtlbench.tasks import Tasks
from mtlbench.training import Interrupted, Pruned, Trainer

CONSTANT_IMAGES = 256
"""Training images whose labels set what a method does not train."""
LOCK_SECONDS = 90.0
"""How long a cell that was started again waits for its orphan, which stops when it notices that it is one."""

log = logging.getLogger(__name__)


def run_cell(job: Job) -> int:
    """Train and evaluate, or go on where the folder's checkpoint stands; returns the exit code of the
    process.

    The folder gets `result.json`, or `failure.json` with the typed reason, or (asked to stop) a checkpoint.
    """
    folder = RunFolder(job.folder)
    if local_rank() > 0:  # the first process, which started this one, holds the lock
        return _work(job, folder)
    try:
        folder.create(job)
        with folder.lock(wait=LOCK_SECONDS) as free:
            if not free:
                log.error("another process works on %s", job.cell.id)
                return EXIT_FAILED
            folder.tidy()
            if folder.result() is not None:
                return EXIT_DONE
            folder.try_again()
            return _work(job, folder)
    except OSError as error:
        log.exception("the cell could not start")
        folder.fail(_describe_failure(error, folder))
        return EXIT_FAILED


def _work(job: Job, folder: RunFolder) -> int:
    try:
        for plugin in job.plugins:
            registry.add_file(plugin)
        _Run(job, folder, _asked_to_stop()).run()
    except Interrupted:
        log.info("stopped; the same command goes on from here")
        return EXIT_INTERRUPTED
    except Pruned as pruned:
        log.info("pruned %s", pruned)
        folder.fail(Failure(kind="pruned", message=str(pruned)))
        return EXIT_FAILED
    except Exception as error:
        log.exception("the cell failed")
        if folder.failure() is None:  # else another process of the cell was first: this one only lost contact
            folder.fail(_describe_failure(error, folder))
        return EXIT_FAILED
    return EXIT_DONE


class Images(NamedTuple):
    """What a cell trains on, and what its scores are of."""

    trained: Dataset
    scored: Dataset

    def counts(self) -> dict[str, int]:
        """As `Result.images`."""
        of_scored = "val" if self.scored.split == "val" else "held_out"
        return {"train": len(self.trained), of_scored: len(self.scored)}

    def checksums(self) -> dict[str, str | None]:
        """By split: images that are held out are of the split that is trained on."""
        return {dataset.split: dataset.checksum() for dataset in self}


@dataclass
class _Run:
    job: Job
    folder: RunFolder
    stop: Callable[[], bool]

    def run(self) -> None:
        cell = self.job.cell
        fabric = self._fabric()
        learned = learned_tasks(cell)
        trained = [name for name in learned if name not in cell.left_out]
        datasets = Images(training_images(cell, learned), evaluation_images(cell))
        tasks = {name: datasets.trained.tasks[name] for name in learned}
        network = build_network(cell, tasks)
        built = frozen_checksums(network)
        balancer = build_balancer(
            cell.balancer, {name: tasks[name] for name in trained}, known=datasets.trained.tasks
        )
        labels = islice(evaluation_batches(datasets.trained, tasks, batch_size=1), CONSTANT_IMAGES)
        network.fit_constants(unpack(batch, tasks) for batch in labels)
        started_from = take_start(network, cell, self.folder)
        evaluated = {name: tasks[name] for name in cell.tasks}
        score = partial(self._score, network, datasets.scored, evaluated, fabric)
        trainer = Trainer(
            self._as_trained(len(datasets.trained)),
            network,
            balancer,
            datasets.trained,
            {name: tasks[name] for name in trained},
            fabric,
            self.folder,
            self.job.execution,
            self.stop,
            lambda between: primary(score(between), evaluated),
            built,
        )
        trainer.train()
        network.to(fabric.device)
        started = time.monotonic()
        scores = score(self.folder.show_life)
        seconds = time.monotonic() - started
        if fabric.global_rank > 0:
            return
        if self.job.execution.evaluate_every is not None:
            self.folder.note_evaluation(trainer.recipe.iterations, primary(scores, evaluated))
        count, device = self.job.execution.gallery, fabric.device
        evaluation.keep_pictures(network, datasets.scored, evaluated, self.folder.predictions, count, device)
        result = Result(
            cell=cell,
            tasks={name: TaskRecord.of(task) for name, task in evaluated.items()},
            scores=scores,
            images=datasets.counts(),
            costs=self._costs(network, datasets.scored.size, trainer, seconds),
            balancing=trainer.balancing,
            findings=network.findings(),
            started_from=started_from,
            caveats=self._caveats(),
            fingerprints=fingerprints(cell)
            | {"data": datasets.scored.fingerprint()}
            | start_fingerprint(cell, self.folder),
            data_checksums=datasets.checksums(),
            provenance=provenance.describe(),
        )
        self.folder.finish(result)
        trainer.trackers.finish(result)  # last: whatever it does, the result is there

    def _score(
        self, network: Method, images: Dataset, tasks: Tasks, fabric: Fabric, between: Callable[[], None]
    ) -> dict[str, dict[str, float]]:
        """All metrics of the network as it is."""
        recipe = self.job.cell.recipe
        batches = evaluation_batches(
            images,
            tasks,
            batch_size=recipe.batch_size,
            rank=fabric.global_rank,
            ranks=fabric.world_size,
            workers=self.job.execution.workers,
        )
        return evaluation.evaluate(network, batches, tasks, fabric, recipe, after_batch=between)

    def _as_trained(self, images: int) -> Cell:
        """The cell with its length in iterations, in the micro-batches that fit."""
        recipe = self.job.cell.recipe
        changes: dict[str, Any] = {"iterations": recipe.steps(images), "epochs": None}
        if self.job.accumulate is not None:
            changes["accumulate"] = self.job.accumulate
        return self.job.cell.model_copy(update={"recipe": recipe.model_copy(update=changes)})

    def _caveats(self) -> list[str]:
        """What tells this result from one that ran exactly as its recipe says."""
        micro, recipe = self.job.accumulate, self.job.cell.recipe
        if micro in (None, recipe.accumulate):
            return []
        return [
            f"out of memory: ran in {micro} micro-batches a step instead of {recipe.accumulate}, at the same "
            f"batch size; batch normalisation saw {recipe.batch_size // micro} images at a time"
        ]

    def _fabric(self) -> Fabric:
        execution = self.job.execution
        if execution.threads is not None:
            torch.set_num_threads(execution.threads)
        gpu = torch.cuda.is_available()
        if not gpu:
            keep_freed_memory()
        fabric = Fabric(
            accelerator="cuda" if gpu else "cpu",
            devices=execution.devices,
            # published networks may hold parameters that reach no output
            strategy="ddp_find_unused_parameters_true" if execution.devices > 1 else "auto",
        )
        if execution.devices > 1:
            fabric.launch()
        torch.backends.cudnn.benchmark = gpu
        return fabric

    def _costs(
        self, network: Method, size: tuple[int, int], trainer: Trainer, evaluate_seconds: float
    ) -> Costs:
        return Costs(
            **vars(profiling.count_network(network, size)),
            input_size=size,
            train_seconds=trainer.seconds,
            images_per_second=trainer.images_seen() / trainer.seconds if trainer.seconds else 0.0,
            evaluate_seconds=evaluate_seconds,
            peak_memory_mb=_peak_memory_mb(),
        )


def primary(scores: dict[str, dict[str, float]], tasks: Tasks) -> dict[str, float]:
    return {name: scores[name][task.primary] for name, task in tasks.items()}


def _describe_failure(error: Exception, folder: RunFolder) -> Failure:
    kind: FailureKind = "error"
    if is_full(error):
        return Failure(kind="disk_full", message=full_disk(folder.path), details=traceback.format_exc())
    if isinstance(error, CellFailed):
        kind = "diverged"
    elif isinstance(error, DataError):
        kind = "data"
    elif isinstance(error, MtlbenchError):
        kind = "input"
    elif isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(
        error
    ):
        kind = "out_of_memory"
    message = str(error) if isinstance(error, MtlbenchError) else f"{type(error).__name__}: {error}"
    return Failure(kind=kind, message=message, details=traceback.format_exc())


def _asked_to_stop() -> Callable[[], bool]:
    """True after SIGTERM or SIGINT, and when the process that started this one is gone.

    That is the driver, or for further devices the cell's first process.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    driver = os.environ.get("MTLBENCH_DRIVER") if local_rank() == 0 else str(os.getppid())
    return lambda: bool(asked) or (driver is not None and os.getppid() != int(driver))


def _peak_memory_mb() -> float:
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident_bytes()
    return peak / 2**20

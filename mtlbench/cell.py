"""One cell, from its job file to its result: the whole life of a cell's process."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

import torch
from lightning_fabric import Fabric

from mtlbench import evaluation, profiling, provenance
from mtlbench.allocation import keep_freed_memory
from mtlbench.balancing import Balancer
from mtlbench.data import Dataset, unpack
from mtlbench.errors import CellFailed, DataError, MtlbenchError
from mtlbench.folder import Costs, Failure, FailureKind, Job, Result, RunFolder, TaskRecord
from mtlbench.loading import evaluation_batches
from mtlbench.model import Method
from mtlbench.options import build_options
from mtlbench.ranks import local_rank
from mtlbench.registry import registry
from mtlbench.seeding import derive
from mtlbench.spec import Cell, Choice
from mtlbench.tasks import Tasks
from mtlbench.training import Interrupted, Trainer

EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 75
CONSTANT_IMAGES = 256
"""Training images whose labels set what a method does not train."""

log = logging.getLogger(__name__)


def run_cell(job: Job) -> int:
    """Train and evaluate, or go on where the folder's checkpoint stands; returns the exit code of the
    process.

    The folder gets `result.json`, or `failure.json` with the typed reason, or (asked to stop) a checkpoint.
    """
    folder = RunFolder(job.folder)
    if local_rank() > 0:  # the first process, which started this one, holds the lock
        return _work(job, folder)
    folder.create(job)
    with folder.lock() as free:
        if not free:
            log.error("another process works on %s", job.cell.id)
            return EXIT_FAILED
        if folder.result() is not None:
            return EXIT_DONE
        folder.forgive()
        return _work(job, folder)


def _work(job: Job, folder: RunFolder) -> int:
    try:
        for plugin in job.plugins:
            registry.add_file(plugin)
        _Run(job, folder, _asked_to_stop()).run()
    except Interrupted:
        log.info("stopped; the same command goes on from here")
        return EXIT_INTERRUPTED
    except Exception as error:
        log.exception("the cell failed")
        if folder.failure() is None:  # else another process of the cell was first: this one only lost contact
            folder.fail(_describe_failure(error, job.cell))
        return EXIT_FAILED
    return EXIT_DONE


@dataclass
class _Run:
    job: Job
    folder: RunFolder
    stop: Callable[[], bool]

    def run(self) -> None:
        cell = self.job.cell
        fabric = self._fabric()
        datasets = {split: build_dataset(cell.dataset, split, cell.tasks) for split in ("train", "val")}
        tasks = {name: datasets["train"].tasks[name] for name in cell.tasks}
        network = build_network(cell, tasks)
        balancer = build_balancer(cell.balancer, tasks)
        labels = islice(evaluation_batches(datasets["train"], tasks, batch_size=1), CONSTANT_IMAGES)
        network.fit_constants(unpack(batch, tasks) for batch in labels)
        trainer = Trainer(
            cell,
            network,
            balancer,
            datasets["train"],
            tasks,
            fabric,
            self.folder,
            self.job.execution,
            self.stop,
        )
        trainer.train()
        network.to(fabric.device)
        started = time.monotonic()
        batches = evaluation_batches(
            datasets["val"],
            tasks,
            batch_size=cell.recipe.batch_size,
            rank=fabric.global_rank,
            ranks=fabric.world_size,
            workers=self.job.execution.workers,
        )
        scores = evaluation.evaluate(network, batches, tasks, fabric, cell.recipe)
        seconds = time.monotonic() - started
        if fabric.global_rank > 0:
            return
        count, device = self.job.execution.gallery, fabric.device
        evaluation.keep_pictures(network, datasets["val"], tasks, self.folder.predictions, count, device)
        self.folder.finish(
            Result(
                cell=cell,
                tasks={name: TaskRecord.of(task) for name, task in tasks.items()},
                scores=scores,
                images={split: len(dataset) for split, dataset in datasets.items()},
                costs=self._costs(network, datasets["val"].size, trainer, seconds),
                balancing=trainer.balancing,
                fingerprints=fingerprints(cell) | {"data": datasets["val"].fingerprint()},
                data_checksums={split: dataset.checksum() for split, dataset in datasets.items()},
                provenance=provenance.describe(),
            )
        )

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
        parameters, trainable = profiling.count_parameters(network)
        return Costs(
            parameters=parameters,
            trainable=trainable,
            macs=profiling.count_macs(network, size),
            input_size=size,
            train_seconds=trainer.seconds,
            images_per_second=trainer.images_seen() / trainer.seconds if trainer.seconds else 0.0,
            evaluate_seconds=evaluate_seconds,
            peak_memory_mb=_peak_memory_mb(),
        )


def build_dataset(choice: Choice, split: str, tasks: tuple[str, ...]) -> Dataset:
    options = build_options(registry, "dataset", choice)
    return registry.load("dataset", choice.name)(split, tasks, **options)


def build_network(cell: Cell, tasks: Tasks) -> Method:
    """The network with its initial weights, which depend on the seed alone; the backbone is drawn first."""
    method = registry.load("method", cell.method.name)
    with torch.random.fork_rng():
        torch.manual_seed(derive(cell.seed, "init"))
        backbone = None
        if method.needs_backbone:
            options = build_options(registry, "backbone", cell.backbone)
            backbone = registry.load("backbone", cell.backbone.name)(**options)
        network = method(backbone, tasks, **build_options(registry, "method", cell.method))
        tuning = registry.load("tuning", cell.tuning.name)(**build_options(registry, "tuning", cell.tuning))
        return tuning.apply(network)


def build_balancer(choice: Choice, tasks: Tasks) -> Balancer:
    return registry.load("balancer", choice.name)(tasks, **build_options(registry, "balancer", choice))


def fingerprints(cell: Cell) -> dict[str, str]:
    """Checksums of the files that decide what a cell computes."""
    families = ("method", "backbone", "balancer", "dataset", "tuning")
    plugins = {family: registry.load(family, getattr(cell, family).name) for family in families}
    checksums = {family: provenance.source_fingerprint(plugin) for family, plugin in plugins.items()}
    return checksums | {"core": provenance.core_fingerprint()}


def _describe_failure(error: Exception, cell: Cell) -> Failure:
    kind: FailureKind = "error"
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
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes, on a Mac bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def read_job(path: Path) -> Job:
    """The job file that a driver wrote.

    Raises:
        MtlbenchError: it can't be read.
    """
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MtlbenchError(f"job file {path} can't be read: {error}") from error

"""Time and memory of one network: inference and training steps on random images and labels."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from lightning_fabric import Fabric
from torch import Tensor

from mtlbench.allocation import keep_freed_memory
from mtlbench.building import build_tuning
from mtlbench.data import Batch
from mtlbench.forward import Forward
from mtlbench.labels import ClassMap, Normals
from mtlbench.model import Method
from mtlbench.optimization import make_optimizer
from mtlbench.precision import make_scaler
from mtlbench.profiling.networks import build_unweighted, tasks_of
from mtlbench.registry import registry
from mtlbench.spec import Cell
from mtlbench.tasks import Task, Tasks

WARM_UPS = {"cpu": 1, "cuda": 3}
"""Passes before the first that counts: kernels are chosen and memory is taken then."""
MEGABYTE = 2**20


@dataclass(frozen=True)
class Load:
    """What a network is measured with.

    Attributes:
        size: (H, W) of the images.
        batch: images at a time, of throughput and training.
        runs: passes whose median counts.
        device: `cpu`, `cuda` or `cuda:1`.
    """

    size: tuple[int, int]
    batch: int
    runs: int
    device: str


@dataclass(frozen=True)
class Timing:
    """Medians; None where the network has nothing to train.

    Inference is that of the merged network, where a tuning can be merged into its weights.

    Attributes:
        latency_ms: one image, inference.
        images_per_second: batches, inference.
        step_ms: forward pass, losses, backward pass and optimizer step of a batch.
        inference_mb: peak memory of one image's inference, weights included.
        training_mb: of training steps.
        not_merged: why the network was not merged, where its tuning can't be.
    """

    latency_ms: float
    images_per_second: float
    step_ms: float | None
    inference_mb: float
    training_mb: float | None
    not_merged: str | None = None


def measure(cell: Cell, load: Load) -> Timing:
    """Build a cell's network, time it, and see what memory it takes; meant for a process of its own.

    Memory on a GPU is what torch has allocated there at most; on a CPU it is by how much the process's peak
    of resident memory exceeds what was resident before the network was built.
    """
    device = torch.device(load.device)
    fabric = Fabric(accelerator=device.type, devices=[device.index or 0] if device.type == "cuda" else 1)
    torch.backends.cudnn.benchmark = device.type == "cuda"  # as in training
    if device.type == "cpu":
        keep_freed_memory()
    _import_all(cell)
    memory = PeakMemory(fabric.device)
    tasks = tasks_of(cell)
    network = build_unweighted(cell)
    before, not_merged = list(network.state_dict()), build_tuning(cell.tuning).merge(network)
    network.to(fabric.device)
    forward = Forward(network, tasks, cell.recipe, fabric)
    one, many = (random_batch(tasks, load.size, n, fabric.device) for n in (1, load.batch))
    network.eval()
    with torch.no_grad():
        latency = _median_seconds(lambda: forward(one), load, fabric.device)
        inference_mb = memory.peak_mb()
        throughput = load.batch / _median_seconds(lambda: forward(many), load, fabric.device)
    if list(network.state_dict()) != before:  # what was merged can't be trained any more
        del network, forward
        forward = Forward(build_unweighted(cell).to(fabric.device), tasks, cell.recipe, fabric)
    step_ms = training_mb = None
    if any(p.requires_grad for p in forward.network.parameters()):
        memory.forget()
        step_ms = 1000 * _median_seconds(training_step(forward, many), load, fabric.device)
        training_mb = memory.peak_mb()
    return Timing(1000 * latency, throughput, step_ms, inference_mb, training_mb, not_merged)


def _import_all(cell: Cell) -> None:
    """Before memory is looked at; an optimizer's first step imports, too."""
    for family in ("dataset", "backbone", "method", "tuning"):
        registry.load(family, getattr(cell, family).name)
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.sum().backward()
    torch.optim.SGD([weight], lr=1.0).step()


def training_step(forward: Forward, batch: Batch) -> Callable[[], None]:
    """What training does once a step with equal weights: called, it moves the network."""
    network = forward.network.train()
    network.schedule(0.0)
    own = network.own_optimizer()
    optimizers = [make_optimizer(network, forward.recipe, own=own), *([own] if own else [])]
    scaler = make_scaler(forward.recipe, forward.fabric.device)
    labels = forward.count_labels([batch], 1)

    def step() -> None:
        losses = forward.losses(forward(batch), batch, labels, 0)
        scaler.scale(_total(network, losses)).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
            optimizer.zero_grad()
        scaler.update()

    return step


def _total(network: Method, losses: dict[str, Tensor]) -> Tensor:
    total, penalty = torch.stack(list(losses.values())).sum(), network.penalty(network.tasks)
    return total if penalty is None else total + penalty


def random_batch(tasks: Tasks, size: tuple[int, int], images: int, device: torch.device) -> Batch:
    """Noise, with a label at each pixel."""
    batch = {name: random_labels(task, size, images).to(device) for name, task in tasks.items()}
    return {**batch, "image": torch.randint(256, (images, 3, *size), dtype=torch.uint8).to(device)}


def random_labels(task: Task, size: tuple[int, int], images: int) -> Tensor:
    """Classes (B, H, W), unit normals (B, 3, H, W), or metres (B, 1, H, W)."""
    if task.label_type is ClassMap:
        return torch.randint(max(task.channels, 2), (images, *size), dtype=torch.uint8)
    if task.label_type is Normals:
        return torch.nn.functional.normalize(torch.randn(images, 3, *size), dim=1)
    return 0.5 + 9 * torch.rand(images, 1, *size)


def _median_seconds(run: Callable[[], object], load: Load, device: torch.device) -> float:
    for _ in range(WARM_UPS[device.type]):
        run()
    seconds = []
    for _ in range(load.runs):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PeakMemory:
    """Peak memory since `forget`; of a CPU's process, where a peak can't be forgotten, since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = psutil.Process().memory_info().rss

    def forget(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mb(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MEGABYTE
        return max(peak_resident_bytes() - self.before, 0) / MEGABYTE


def peak_resident_bytes() -> int:
    """Of this process. Linux's `ru_maxrss` won't do: it starts with the memory of the parent process."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # a Mac counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

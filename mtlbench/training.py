"""Training of one network: the loop, its schedule, checkpoints and history."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from mtlbench import checkpoint
from mtlbench.balancing import Balancer, Step
from mtlbench.data import Batch, Dataset, unpack
from mtlbench.engine import Diagnostics, Engine
from mtlbench.errors import CellFailed
from mtlbench.folder import RunFolder
from mtlbench.loading import steps_per_epoch, train_batches
from mtlbench.model import Method, Outputs
from mtlbench.optimization import learning_rate, make_optimizer, set_learning_rate
from mtlbench.precision import autocast
from mtlbench.ranks import any_rank, mean_over_ranks
from mtlbench.seeding import derive, generator
from mtlbench.spec import Cell, Execution
from mtlbench.tasks import Tasks

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The process was asked to stop; a checkpoint is written."""


@dataclass
class Trainer:
    """Trains `network` as `cell` says, from the folder's checkpoint if there is one.

    Attributes:
        stop: asked after every step; True makes the trainer write a checkpoint and raise `Interrupted`.
    """

    cell: Cell
    network: Method
    balancer: Balancer
    dataset: Dataset
    tasks: Tasks
    fabric: Fabric
    folder: RunFolder
    execution: Execution
    stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.recipe = self.cell.recipe
        self.step = 0
        self.seconds = 0.0

    def train(self) -> None:
        """Run until the last iteration.

        Raises:
            CellFailed: a loss is no longer finite.
            Interrupted: `stop` said so.
        """
        if not any(p.requires_grad for p in self.network.parameters()):
            return
        self.optimizer = make_optimizer(self.network, self.recipe)
        self._load()
        wrapped, optimizer = self.fabric.setup(self.network, self.optimizer)
        wrapped.train()
        self.engine = Engine(self.balancer, self.network, self.tasks, self.fabric)
        if self._balancer_optimizer is not None and self.engine.optimizer is not None:
            self.engine.optimizer.load_state_dict(self._balancer_optimizer)
        batches = train_batches(
            self.dataset,
            self.tasks,
            self.recipe,
            seed=self.cell.seed,
            start=self.step,
            rank=self.fabric.global_rank,
            ranks=self.fabric.world_size,
            workers=self.execution.workers,
        )
        started, saved, first = time.monotonic() - self.seconds, time.monotonic(), self.step
        while self.step < self.recipe.iterations:
            losses, diagnostics = self._step(wrapped, optimizer, batches)
            self.step += 1
            self.seconds = time.monotonic() - started
            if self.step % self.execution.log_every == 0 or self.step in (first + 1, self.recipe.iterations):
                self._note(losses, diagnostics)
            stopping = bool(any_rank(self.fabric, torch.tensor(self.stop())))
            if stopping or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            if stopping and self.step < self.recipe.iterations:
                raise Interrupted
        self._save()

    def _step(
        self, network: Any, optimizer: Any, batches: Iterator[Batch]
    ) -> tuple[dict[str, float], Diagnostics]:
        """One optimizer step over all its micro-batches; returns the losses of the active tasks."""
        set_learning_rate(optimizer, self.recipe, self.step)
        torch.manual_seed(derive(self.cell.seed, "step", self.step, self.fabric.global_rank))
        parts = [self._fetch(batches) for _ in range(self.recipe.accumulate)]
        active = self._labelled(parts)
        step = self._describe(active)
        sums = {name: torch.zeros((), device=self.fabric.device) for name in active}
        share, syncs = 1 / self.recipe.accumulate, self.engine.syncs_in_backward(step)
        for batch in parts:
            last = batch is parts[-1]
            with self.fabric.no_backward_sync(network, enabled=not (syncs and last)):
                with autocast(self.recipe, self.fabric.device):
                    outputs = network(self._images(batch))
                losses = self._task_losses(outputs, batch, active)
                self.engine.accumulate(losses, step, share)
            for name, loss in losses.items():
                sums[name] += loss.detach() * share
        values = self._finite(sums)
        diagnostics = self.engine.finish(step)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(network, optimizer, max_norm=self.recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        return values, diagnostics

    def _fetch(self, batches: Iterator[Batch]) -> Batch:
        return unpack(self.fabric.to_device(next(batches)), self.tasks)

    def _images(self, batch: Batch) -> Tensor:
        images = self.network.normalise(batch["image"])
        return images.contiguous(memory_format=torch.channels_last)

    def _labelled(self, parts: list[Batch]) -> list[str]:
        """The tasks that have a label somewhere in the batch, on any rank.

        Raises:
            CellFailed: there is none.
        """
        present = torch.stack(
            [
                torch.stack([task.valid(batch[name]).any() for batch in parts]).any()
                for name, task in self.tasks.items()
            ]
        )
        found = any_rank(self.fabric, present).tolist()
        active = [name for name, labelled in zip(self.tasks, found, strict=True) if labelled]
        if not active:
            raise CellFailed(f"no task has a label in the batch of step {self.step + 1}")
        return active

    def _task_losses(self, outputs: Outputs, batch: Batch, active: list[str]) -> dict[str, Tensor]:
        """Each active task's loss, summed over the endpoints that predict it."""
        endpoints = [outputs.final, *outputs.auxiliary.values()]
        return {
            name: torch.stack(
                [self.tasks[name].loss(e[name].float(), batch[name]) for e in endpoints if name in e]
            ).sum()
            for name in active
        }

    def _describe(self, active: list[str]) -> Step:
        names = list(self.tasks)
        return Step(
            index=self.step,
            epoch=self.step // steps_per_epoch(self.dataset, self.recipe),
            active=torch.tensor([names.index(name) for name in active]),
            losses=torch.zeros(len(active)),
            generator=generator(self.cell.seed, "balancer", self.step),
        )

    def _finite(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """The losses averaged over ranks, so that all ranks stop where one of them is not finite."""
        means = mean_over_ranks(self.fabric, torch.stack(list(losses.values())))
        values = dict(zip(losses, means.tolist(), strict=True))
        for name, value in values.items():
            if not abs(value) < float("inf"):
                advice = "try a smaller learning rate, a warm-up or `clip`"
                raise CellFailed(f"the loss of {name} became {value} in step {self.step + 1}: {advice}")
        return values

    def _note(self, losses: dict[str, float], diagnostics: Diagnostics) -> None:
        if self.fabric.global_rank > 0:
            return
        line = {
            "step": self.step,
            "lr": learning_rate(self.recipe, self.step - 1),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.step * self.recipe.batch_size / self.seconds, 3),
            "losses": losses,
            "weights": diagnostics.weights,
            "norms": diagnostics.norms,
            "cosines": [[a, b, value] for (a, b), value in diagnostics.cosines.items()],
        }
        with self.folder.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        if self.fabric.global_rank > 0:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.state_by_task(),
            "balancer_optimizer": self.engine.optimizer.state_dict() if self.engine.optimizer else None,
        }
        checkpoint.save(self.folder.checkpoint, state)

    def _load(self) -> None:
        """Go on from the checkpoint; drop the lines of history that came after it."""
        state = checkpoint.load(self.folder.checkpoint)
        self._balancer_optimizer = state["balancer_optimizer"] if state else None
        self.step = state["step"] if state else 0
        if state:
            log.info("going on from the checkpoint of step %d", self.step)
            self.seconds = state["seconds"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.balancer.load_state_by_task(state["balancer"])
        if self.folder.history.exists() and self.fabric.global_rank == 0:
            lines = self.folder.history.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
            self.folder.history.write_text("".join(kept), encoding="utf-8")

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
from mtlbench.engine import Diagnostics, make_engine
from mtlbench.errors import CellFailed
from mtlbench.folder import Balancing, RunFolder
from mtlbench.forward import Forward, Labels, all_predictions
from mtlbench.loading import steps_per_epoch, train_batches
from mtlbench.model import Method
from mtlbench.optimization import learning_rate, make_optimizer, set_learning_rate
from mtlbench.precision import make_scaler
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
        balancing: after `train`: how the balancer was carried out.
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
        self.balancing = Balancing()

    def train(self) -> None:
        """Run until the last iteration.

        Raises:
            CellFailed: a loss is no longer finite.
            Interrupted: `stop` said so.
        """
        if not any(p.requires_grad for p in self.network.parameters()):
            return
        self.optimizer = make_optimizer(self.network, self.recipe)
        state = self._load()
        wrapped, optimizer = self.fabric.setup(self.network, self.optimizer)
        if state is not None:  # not earlier: it goes to the device where the parameters are
            self.optimizer.load_state_dict(state["optimizer"])
        wrapped.train()
        self.forward = Forward(self.network, self.tasks, self.recipe, self.fabric)
        self.engine = make_engine(
            self.balancer, self.network, self.tasks, self.fabric, passes=self.execution.passes
        )
        if state is not None:
            self.engine.load_state(state["engine"])
        batches = train_batches(
            self.dataset,
            self.tasks,
            self.recipe,
            seed=self.cell.seed,
            start=self.step,
            rank=self.fabric.global_rank,
            ranks=self.fabric.world_size,
            workers=self.execution.workers,
            batches=self.engine.batches,
        )
        started, saved, first = time.monotonic() - self.seconds, time.monotonic(), self.step
        while self.step < self.recipe.iterations:
            logged = self.step in (first, self.recipe.iterations - 1) or self._is_logged()
            losses, diagnostics = self._step(wrapped, optimizer, batches, measured=logged)
            self.step += 1
            self.seconds = time.monotonic() - started
            if logged:
                self._note(losses, diagnostics)
            stopping = bool(any_rank(self.fabric, torch.tensor(self.stop())))
            if stopping or time.monotonic() - saved > self.execution.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            if stopping and self.step < self.recipe.iterations:
                raise Interrupted
        self._save()
        self.balancing = self.engine.record()
        self.engine.close()

    def _is_logged(self) -> bool:
        """Every so many steps; where weights are found every k steps, also the next step that finds some."""
        log_every, every = self.execution.log_every, getattr(self.balancer, "every", 1)
        if (self.step + 1) % log_every == 0:
            return True
        return every > 1 and self.step % every == 0 and self.step % log_every < every

    def _step(
        self, network: Any, optimizer: Any, batches: Iterator[Batch], *, measured: bool
    ) -> tuple[dict[str, float], Diagnostics]:
        """One optimizer step over all its micro-batches; returns the losses of the active tasks."""
        engine, accumulate = self.engine, self.recipe.accumulate
        set_learning_rate(optimizer, self.recipe, self.step)
        parts = [self._fetch(batches) for _ in range(accumulate * engine.batches)]
        labels = self.forward.count_labels(parts, engine.batches)
        if not labels.active:
            raise CellFailed(f"no task has a label in the batch of step {self.step + 1}")
        step = self._describe(labels.active)
        engine.clock.reset(measured)
        with engine.clock.measure("step"):
            engine.scale = self.scaler.get_scale()
            engine.begin(step, self._look_ahead(parts, labels) if engine.looks_ahead(accumulate) else None)
            values = self._finite(self._backward(network, parts, labels, step))
            diagnostics = engine.finish(step)
            self.scaler.unscale_(optimizer)
            if self.recipe.clip is not None:
                self.fabric.clip_gradients(
                    network, optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
                )
            self.scaler.step(optimizer)
            self.scaler.update()
            optimizer.zero_grad()
            if self.balancer.sees_change:
                with engine.clock.measure("change"):
                    engine.observe_change(step, self._look_ahead(parts, labels))
        return values, diagnostics

    def _backward(self, network: Any, parts: list[Batch], labels: Labels, step: Step) -> dict[str, Tensor]:
        """Give the engine the losses of all micro-batches; returns those of the batch, on this rank."""
        sums = {name: torch.zeros((), device=self.fabric.device) for name in labels.active}
        size, syncs = self.recipe.accumulate, self.engine.syncs_in_backward(step)
        self._seed_forward()
        for i, batch in enumerate(parts):
            last = i + 1 == len(parts)
            with self.fabric.no_backward_sync(network, enabled=not (syncs and last)):
                outputs = self.forward(batch, network)
                self.engine.survey(all_predictions(outputs, self.tasks))
                losses = self.forward.losses(outputs, batch, labels, i)
                self.engine.accumulate(losses, step, 1 / size, i // size)
            for name, loss in losses.items():
                sums[name] += loss.detach() / len(parts)
        return sums

    def _look_ahead(self, parts: list[Batch], labels: Labels) -> Tensor:
        """The losses (T,) of the whole batch, without a gradient; dropout as in the training pass."""
        self._seed_forward()
        losses = self.forward.losses_alone(parts, labels)
        return mean_over_ranks(self.fabric, torch.stack(list(losses.values())))

    def _seed_forward(self) -> None:
        torch.manual_seed(derive(self.cell.seed, "step", self.step, self.fabric.global_rank))

    def _fetch(self, batches: Iterator[Batch]) -> Batch:
        return unpack(self.fabric.to_device(next(batches)), self.tasks)

    def _describe(self, active: list[str]) -> Step:
        names = list(self.tasks)
        return Step(
            index=self.step,
            epoch=self.step * self.engine.batches // steps_per_epoch(self.dataset, self.recipe),
            active=torch.tensor([names.index(name) for name in active]),
            losses=torch.zeros(len(active)),  # not known yet
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
            "images_per_second": round(self.images_seen() / self.seconds, 3),
            "losses": losses,
            "weights": diagnostics.weights,
            "norms": diagnostics.norms,
            "cosines": [[a, b, value] for (a, b), value in diagnostics.cosines.items()],
            "conflicts": diagnostics.conflicts,
            "condition": diagnostics.condition,
            "balancing": self.engine.cost(),
            "failures": self.engine.failures,
        }
        with self.folder.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def images_seen(self) -> int:
        """In training so far; a balancer may take several batches a step."""
        if self.step == 0:  # an engine is made where something trains
            return 0
        return self.step * self.recipe.batch_size * self.engine.batches

    def _save(self) -> None:
        if self.fabric.global_rank > 0:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.state_by_task(),
            "engine": self.engine.state(),
            "scaler": self.scaler.state_dict(),
        }
        checkpoint.save(self.folder.checkpoint, state)

    def _load(self) -> dict[str, Any] | None:
        """Go on from the checkpoint, which is returned; drop the lines of history that came after it."""
        state = checkpoint.load(self.folder.checkpoint)
        self.scaler = make_scaler(self.recipe, self.fabric.device)
        self.step = state["step"] if state else 0
        if state:
            log.info("going on from the checkpoint of step %d", self.step)
            self.seconds = state["seconds"]
            self.network.load_state_dict(state["network"])
            self.scaler.load_state_dict(state["scaler"])
            self.balancer.load_state_by_task(state["balancer"])
        if self.folder.history.exists() and self.fabric.global_rank == 0:
            lines = self.folder.history.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
            self.folder.history.write_text("".join(kept), encoding="utf-8")
        return state

"""Training of one network: the loop, its schedule, checkpoints and history."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from mtlbench import checkpoint
from mtlbench.aside import aside
from mtlbench.balancing import Balancer, Step
from mtlbench.data import Batch, Dataset, unpack
from mtlbench.engine import Diagnostics, make_engine
from mtlbench.errors import CellFailed
from mtlbench.features import KeptFeatures, why_not
from mtlbench.folder import Balancing, RunFolder
from mtlbench.forward import Forward, Labels, all_predictions
from mtlbench.frozen import Checksums, final_weights, frozen_checksums, load_trained, trained_state
from mtlbench.loading import steps_per_epoch, train_batches
from mtlbench.model import Method
from mtlbench.optimization import learning_rate, make_optimizer, set_learning_rate
from mtlbench.precision import make_scaler
from mtlbench.ranks import any_rank, mean_over_ranks
from mtlbench.seeding import derive, generator, seed_torch
from mtlbench.spec import Cell, Execution
from mtlbench.tasks import Tasks
from mtlbench.tracking import Trackers

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The process was asked to stop; a checkpoint is written."""


class Pruned(Exception):
    """The cell was asked to end, since it is not worth going on; a checkpoint is written."""


Evaluate = Callable[[Callable[[], None]], Mapping[str, float]]
"""Scores the network as it is: task -> primary value; calls its argument between batches."""


@dataclass
class Trainer:
    """Trains `network` as `cell` says, from the folder's checkpoint if there is one.

    Attributes:
        stop: asked after every step; True makes the trainer write a checkpoint and raise `Interrupted`.
        evaluate: scores the network, for `evaluate_every`.
        built: checksums of the frozen weights that `build_network` made; final weights leave them out.
        balancing: after `train`: how the balancer was carried out.
        trackers: after `train`: on the first rank, those that the scores belong to.
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
    evaluate: Evaluate | None = None
    built: Checksums = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe = self.cell.recipe
        self.step = 0
        self.seconds = 0.0
        self.balancing = Balancing()
        self.trackers = Trackers()
        self.frozen = frozen_checksums(self.network)

    def train(self) -> None:
        """Run until the last iteration.

        Raises:
            CellFailed: a loss is no longer finite.
            Interrupted: `stop` said so.
            Pruned: somebody asked for it in the folder.
        """
        if not any(p.requires_grad for p in self.network.parameters()):
            self._start_trackers()
            self._keep_weights()
            return
        self.own_optimizer = self.network.own_optimizer()
        self.optimizer = make_optimizer(self.network, self.recipe, own=self.own_optimizer)
        state = self._load()
        self._start_trackers()
        wrapped, optimizer = self.fabric.setup(self.network, self.optimizer)
        if state is not None:  # not earlier: it goes to the device where the parameters are
            self.optimizer.load_state_dict(state["optimizer"])
            if self.own_optimizer is not None:
                self.own_optimizer.load_state_dict(state["own_optimizer"])
        wrapped.train()
        kept = self._kept_features()
        self.forward = Forward(self.network, self.tasks, self.recipe, self.fabric, kept)
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
        self._loop(wrapped, optimizer, batches)
        if kept is not None:
            kept.close()
        self._save()
        self._keep_weights()
        self.balancing = self.engine.record()
        self.engine.close()

    def _loop(self, network: Any, optimizer: Any, batches: Iterator[Batch]) -> None:
        """All steps from here on."""
        self._started, self._saved, first = time.monotonic() - self.seconds, time.monotonic(), self.step
        while self.step < self.recipe.iterations:
            self._score()
            logged = self.step in (first, self.recipe.iterations - 1) or self._is_logged()
            losses, diagnostics = self._step(network, optimizer, batches, measured=logged)
            self.step += 1
            self.seconds = time.monotonic() - self._started
            if logged:
                self._note(losses, diagnostics)
            self.folder.show_life()
            self._look_around()

    def _kept_features(self) -> KeptFeatures | None:
        """Where that is asked for, and the backbone's maps of an image stay the same."""
        gigabytes = self.execution.cache_features
        if not gigabytes:
            return None
        reason = why_not(self.network, self.dataset, self.recipe)
        if reason is not None:
            log.warning("no features are kept: %s", reason)
            return None
        return KeptFeatures(self.network, len(self.dataset), gigabytes)

    def _look_around(self) -> None:
        """Write a checkpoint if it is time, and stop if that is asked for, on all ranks alike."""
        asked = any_rank(self.fabric, torch.tensor([self.stop(), self.folder.pruning])).tolist()
        ends = any(asked) and self.step < self.recipe.iterations
        if asked[0] or ends or time.monotonic() - self._saved > self.execution.checkpoint_seconds:
            self._save()
            self._saved = time.monotonic()
        if ends:
            self.trackers.finish()
            raise Interrupted if asked[0] else Pruned(f"after {self.step} of {self.recipe.iterations} steps")

    def _score(self) -> None:
        """Where it is time for that: note how good the network is now; its training does not change."""
        every = self.execution.evaluate_every
        if self.evaluate is None or every is None or self.step == 0 or self.step % every:
            return
        last = self.folder.last_evaluation()
        if last is not None and last["step"] == self.step:  # before the cell was interrupted
            return
        started = time.monotonic()
        with aside(self.network, self.fabric):
            scores = self.evaluate(self._between_batches)
        self._started += time.monotonic() - started
        if self.fabric.global_rank == 0:
            self.folder.note_evaluation(self.step, scores)
            self.trackers.log({"step": self.step, "scores": scores})
        self.folder.pruning = self.folder.asked_to_prune()
        self._look_around()

    def _between_batches(self) -> None:
        """An evaluation may take long; several ranks have different numbers of batches, and go on."""
        self.folder.show_life()
        if self.fabric.world_size == 1 and (self.folder.pruning or self.stop()):
            self._look_around()

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
        self.network.schedule(self.step / self.recipe.iterations)
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
            self._add_penalty()
            self.scaler.unscale_(optimizer)
            if self.recipe.clip is not None:
                self.fabric.clip_gradients(
                    network, optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
                )
            self.scaler.step(optimizer)
            self._step_own()
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

    def _add_penalty(self) -> None:
        """Its gradient, the same on all ranks, is added to what they have averaged."""
        penalty = self.network.penalty(self.tasks)
        if penalty is None or not penalty.requires_grad:
            return
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        scaled = penalty * self.scaler.get_scale()
        for p, gradient in zip(
            parameters, torch.autograd.grad(scaled, parameters, allow_unused=True), strict=True
        ):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient

    def _step_own(self) -> None:
        if self.own_optimizer is not None:
            self.scaler.step(self.own_optimizer)
            self.own_optimizer.zero_grad()

    def _look_ahead(self, parts: list[Batch], labels: Labels) -> Tensor:
        """The losses (T,) of the whole batch, without a gradient; dropout as in the training pass."""
        self._seed_forward()
        losses = self.forward.losses_alone(parts, labels)
        return mean_over_ranks(self.fabric, torch.stack(list(losses.values())))

    def _seed_forward(self) -> None:
        seed = derive(self.cell.seed, "step", self.step, self.fabric.global_rank)
        seed_torch(seed, self.fabric.device.type)

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
            "iterations": self.recipe.iterations,
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
        self.folder.note(line)
        self.trackers.log(line)

    def _start_trackers(self) -> None:
        if self.fabric.global_rank == 0:
            self.trackers = Trackers(self.execution.track, self.cell, self.folder)

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
            "network": trained_state(self.network, self.frozen),
            "frozen": self.frozen,
            "cell": self.cell.model_dump_json(),
            "optimizer": self.optimizer.state_dict(),
            "own_optimizer": self.own_optimizer.state_dict() if self.own_optimizer is not None else None,
            "balancer": self.balancer.state_by_task(),
            "engine": self.engine.state(),
            "scaler": self.scaler.state_dict(),
        }
        checkpoint.save_progress(self.folder.checkpoint, state)

    def _keep_weights(self) -> None:
        """Those that training ended with, for cells that start from them."""
        if self.fabric.global_rank == 0:
            checkpoint.save(self.folder.weights, final_weights(self.network, self.cell, self.built))

    def _load(self) -> dict[str, Any] | None:
        """Go on from the checkpoint, which is returned; drop the lines of history that came after it."""
        state = checkpoint.load(self.folder.checkpoint)
        self.scaler = make_scaler(self.recipe, self.fabric.device)
        self.step = state["step"] if state else 0
        if state:
            log.info("going on from the checkpoint of step %d", self.step)
            self.seconds = state["seconds"]
            frozen = state.get("frozen", {})
            load_trained(self.network, state["network"], frozen, self.folder.checkpoint)
            self.scaler.load_state_dict(state["scaler"])
            self.balancer.load_state_by_task(state["balancer"])
        if self.fabric.global_rank == 0:
            self.folder.cut_history(self.step)
        return state

"""Forward passes of an optimizer step: from micro-batches to task losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mtlbench.aside import aside
from mtlbench.data import Batch
from mtlbench.model import Method, Outputs
from mtlbench.precision import autocast
from mtlbench.ranks import sum_over_ranks
from mtlbench.resizing import resize
from mtlbench.spec import Recipe
from mtlbench.tasks import Tasks

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from mtlbench.features import KeptFeatures


@dataclass(frozen=True)
class Labels:
    """What the batch of an optimizer step has labels for.

    Attributes:
        active: the tasks that have a label in it, on any rank (in each of its independent batches).
        factors: micro-batch -> task -> its share of the valid pixels, times the number of micro-batches
            on all ranks. With it the mean over micro-batches and ranks is the loss of the whole batch, for
            losses that are means over valid pixels.
    """

    active: list[str]
    factors: list[dict[str, Tensor]]


@dataclass(frozen=True)
class Forward:
    """Passes batches through a network, or through what wraps it; `kept` knows some of its features."""

    network: Method
    tasks: Tasks
    recipe: Recipe
    fabric: Fabric
    kept: KeptFeatures | None = None

    def count_labels(self, parts: Sequence[Batch], batches: int) -> Labels:
        """Of all micro-batches, which make up a number of independent batches of the same size."""
        counts = torch.stack(
            [torch.stack([t.valid(part[n]).sum() for n, t in self.tasks.items()]) for part in parts]
        ).float()
        size = len(parts) // batches
        totals = sum_over_ranks(self.fabric, counts.view(batches, size, -1).sum(1))  # (batches, tasks)
        shares = counts / totals.repeat_interleave(size, 0).clamp(min=1) * size * self.fabric.world_size
        labelled = (totals > 0).all(0).tolist()
        active = [name for name, found in zip(self.tasks, labelled, strict=True) if found]
        return Labels(active, [dict(zip(self.tasks, share.unbind(), strict=True)) for share in shares])

    def __call__(self, batch: Batch, network: Any = None) -> Outputs:
        """Predictions of all tasks for the images of a batch."""
        images = self.network.normalise(batch["image"]).contiguous(memory_format=torch.channels_last)
        if self.kept is not None:
            self.kept.announce(batch["image"], images)
        with autocast(self.recipe, self.fabric.device):
            outputs: Outputs = (network or self.network)(images)
        return outputs

    def losses(self, outputs: Outputs, batch: Batch, labels: Labels, part: int) -> dict[str, Tensor]:
        """Each active task's loss for one micro-batch, summed over the endpoints that predict it."""
        found = {}
        for name in labels.active:
            losses = self._losses_of(name, outputs, batch)
            found[name] = torch.stack(losses).sum() * labels.factors[part][name]
        return found

    def _losses_of(self, task: str, outputs: Outputs, batch: Batch) -> list[Tensor]:
        size = batch["image"].shape[-2:]
        losses = (
            [self.tasks[task].loss(outputs.final[task].float(), batch[task])] if task in outputs.final else []
        )
        for endpoint, values in outputs.auxiliary.items():
            if task in values:
                loss = self.network.auxiliary_loss(endpoint, task)
                losses.append(loss(resize(values[task].float(), size), batch[task]))
        return losses

    @torch.no_grad()
    def losses_alone(self, parts: Sequence[Batch], labels: Labels) -> dict[str, Tensor]:
        """Losses of the whole batch on this rank; the network's buffers and the random numbers stay.

        So the training pass that follows or went before draws the same dropout masks, given the same seed.
        """
        sums = dict.fromkeys(labels.active, torch.zeros((), device=self.fabric.device))
        with aside(self.network, self.fabric):
            for i, batch in enumerate(parts):
                for name, loss in self.losses(self(batch), batch, labels, i).items():
                    sums[name] = sums[name] + loss / len(parts)
        return sums


def predictions(outputs: Outputs, task: str) -> list[Tensor]:
    """All predictions of one task: the final one, then those of deep supervision."""
    return [e[task] for e in (outputs.final, *outputs.auxiliary.values()) if task in e]


def all_predictions(outputs: Outputs, tasks: Tasks) -> dict[str, list[Tensor]]:
    return {name: predictions(outputs, name) for name in tasks}

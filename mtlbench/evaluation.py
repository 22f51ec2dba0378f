"""Scores and pictures of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mtlbench.data import Batch, Dataset, collate, unpack
from mtlbench.model import Method
from mtlbench.precision import autocast
from mtlbench.spec import Recipe
from mtlbench.tasks import Tasks

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@torch.no_grad()
def evaluate(
    network: Method,
    batches: Iterable[Batch],
    tasks: Tasks,
    fabric: Fabric,
    recipe: Recipe,
    after_batch: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, float]]:
    """All metrics of all tasks over this rank's batches, summed over ranks: task -> variant -> value."""
    network.eval()
    metrics = {name: task.metric().to(fabric.device) for name, task in tasks.items()}
    for batch in batches:
        batch = unpack(fabric.to_device(batch), tasks)
        with autocast(recipe, fabric.device):
            outputs = network(network.normalise(batch["image"]))
        for name, metric in metrics.items():
            metric.update(outputs.final[name].float(), batch[name])
        after_batch()
    return {name: metric.compute() for name, metric in metrics.items()}


@torch.no_grad()
def keep_pictures(
    network: Method, dataset: Dataset, tasks: Tasks, folder: Path, count: int, device: torch.device
) -> None:
    """Draw `count` samples, evenly spaced: image, labels, predictions as `folder/SAMPLE/*.png`."""
    network.eval()
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)) if count else ():
        sample = dataset.pad(dataset[int(index)])
        labels = unpack(collate([sample], tasks), tasks)
        place = folder / str(sample["id"])
        place.mkdir(parents=True, exist_ok=True)
        image = sample["image"].as_subclass(Tensor)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / "image.png")
        outputs = network(network.normalise(image[None].to(device)))
        for name, task in tasks.items():
            prediction = task.decode(outputs.final[name].float())[0].cpu().numpy()
            label = labels[name][0].numpy() if name in sample else None
            reference = prediction if label is None else label
            Image.fromarray(task.draw(prediction, reference)).save(place / f"{name}.prediction.png")
            if label is not None:
                Image.fromarray(task.draw(label, label)).save(place / f"{name}.label.png")

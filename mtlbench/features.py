"""Maps of a frozen backbone, kept over epochs: where training images are always the same, so are their maps.

An image is known again by its content, so that nothing else can be taken for it. A batch is computed whole
or not at all: at another batch size some kernels would round otherwise.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torchvision import tv_tensors

from mtlbench.data import Dataset, Sample, Transform
from mtlbench.model import Method
from mtlbench.spec import Recipe

GIGABYTE = 2**30

log = logging.getLogger(__name__)


class KeptFeatures:
    """Stands before a backbone until it is closed, and answers for batches that it has seen.

    Args:
        network: its backbone must give the same maps for the same images (`why_not`).
        images: how many there are to train on.
        gigabytes: that the maps may take, where the network is; where those of all images would take more,
            none are kept.
    """

    def __init__(self, network: Method, images: int, gigabytes: float) -> None:
        self._backbone, self._compute = network.backbone, network.backbone.forward
        self._count, self._room = images, gigabytes * GIGABYTE
        self._kept: dict[bytes, Any] = {}
        self._images: Tensor | None = None
        self._keys: Sequence[bytes] = ()
        self._backbone.forward = self._maps  # type: ignore[method-assign]

    def announce(self, raw: Tensor, images: Tensor) -> None:
        """The batch that comes next: uint8 (B, 3, H, W), and normalised."""
        self._keys = [hashlib.blake2b(x.contiguous().numpy()).digest() for x in raw.cpu()]
        self._images = images

    def close(self) -> None:
        """Let go of the backbone and of all maps."""
        self._backbone.forward = self._compute  # type: ignore[method-assign]
        self._kept, self._images = {}, None

    def _maps(self, images: Tensor) -> Any:
        """In place of the backbone's `forward`."""
        known = self._images
        if known is None or images.data_ptr() != known.data_ptr() or images.shape != known.shape:
            return self._compute(images)
        if all(key in self._kept for key in self._keys):
            return pytree.tree_map(lambda *maps: torch.cat(maps), *(self._kept[key] for key in self._keys))
        maps = self._compute(images)
        if self._fits(maps):
            for i, key in enumerate(self._keys):
                self._kept[key] = pytree.tree_map(lambda x, i=i: x[i : i + 1].detach().clone(), maps)
        return maps

    def _fits(self, maps: Any) -> bool:
        """Whether those of all images do, judged by a batch."""
        found = pytree.tree_leaves(maps)
        needed = sum(x.nbytes for x in found) / len(found[0]) * self._count
        if needed > self._room:
            self.close()
            log.warning(
                "no features are kept: those of %d images take %.3g GB, `execution.cache_features` is %.3g",
                self._count,
                needed / GIGABYTE,
                self._room / GIGABYTE,
            )
        return needed <= self._room


def why_not(network: Method, dataset: Dataset, recipe: Recipe) -> str | None:
    """Why the features of one epoch are not those of the next; the network is in training mode."""
    if not network.needs_backbone:
        return "the network has no backbone"
    if any(p.requires_grad for p in network.backbone.parameters()):
        return "something in the backbone trains"
    if any(module.training for module in network.backbone.modules()):
        return "the frozen backbone is in training mode (its tuning's `backbone_mode`)"
    name = dataset.default_transform if recipe.augment == "default" else recipe.augment
    if draws(dataset.transforms[name](dataset.size), dataset[0]):
        return f"`recipe.augment: {name}` changes images at random"
    return None


def changes_at_random(transform: Callable[[tuple[int, int]], Transform]) -> bool:
    """Whether a training transform, given by what makes it for a size, does so to a black image."""
    image = tv_tensors.Image(torch.zeros(3, 32, 48, dtype=torch.uint8))
    return draws(transform((32, 48)), {"image": image, "id": ""})


def draws(transform: Transform, sample: Sample) -> bool:
    """Whether a transform takes random numbers; all that there are come from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        transform(sample)
        return not torch.equal(before, torch.get_rng_state())

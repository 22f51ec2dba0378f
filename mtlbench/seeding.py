"""Randomness as a pure function of (seed, axis, position): runs resume bit for bit, and axes don't disturb
each other.

Axes: "init" (initial weights), "order" (of the training images), "augment" (of one image), "step" (dropout
    and the like),
"balancer". All methods of a grid thus see the same images in the same order, from the same initial backbone.
"""

import hashlib

import torch


def derive(seed: int, axis: str, *position: int) -> int:
    """A seed of 63 bits for one place on one axis."""
    digest = hashlib.sha256(repr((seed, axis, *position)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_torch(seed: int, device: str = "cpu") -> None:
    """Seed torch's global generators: the CPU's, and with any other kind of device all.

    `torch.manual_seed` notes the whole stack for each kind of accelerator that was not used yet, which takes
    milliseconds.
    """
    if device == "cpu":
        torch.random.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def generator(seed: int, axis: str, *position: int) -> torch.Generator:
    """A CPU generator for one place on one axis."""
    return torch.Generator().manual_seed(derive(seed, axis, *position))

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


def generator(seed: int, axis: str, *position: int) -> torch.Generator:
    """A CPU generator for one place on one axis."""
    return torch.Generator().manual_seed(derive(seed, axis, *position))

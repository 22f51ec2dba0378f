"""Deterministic parameter values, so that two implementations of a network can be compared without shipping
weights.

`fill(key, shape)` depends on nothing but the parameter's published name and its shape. A golden file holds
the published names and shapes of a network, the seed of its input, and the output that the published
implementation gave for parameters filled like this (float32, evaluation mode). An implementation agrees
when, after its own names are mapped to the published ones and filled the same way, it gives the same output.
"""

import zlib

import numpy as np


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values for the parameter or float buffer with published name `key`, float32, of shape `shape`."""
    noise = np.asarray(
        np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).standard_normal(
            shape, dtype=np.float32
        )
    )
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return 1.0 + 0.1 * np.abs(noise)
    if leaf == "running_mean" or len(shape) == 0:
        return 0.1 * noise
    if len(shape) == 1:
        return (1.0 + 0.1 * noise) if leaf in ("weight", "gamma", "scale") else 0.1 * noise
    return noise / np.sqrt(np.prod(shape[1:], dtype=np.float64)).astype(np.float32)


def image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A standard-normal float32 input of shape `shape`, e.g. (batch, 3, height, width)."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)

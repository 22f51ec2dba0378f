"""Ray against solid, compared with known distances."""

import math

import numpy as np
import pytest
from mtlbench.datasets.rendering.solids import FAR, hit
from mtlbench.datasets.rendering.surfaces import surface
from mtlbench.datasets.rendering.vocabulary import BOX, CAPSULE, CONE, ELLIPSOID
from numba import njit

Vec = tuple[float, float, float]
C, S = math.cos(0.5), math.sin(0.5)
SOLIDS = np.array(
    [
        [0, 0, 0, 1, 2, 3, C, S],
        [0, 0, -1, 1.5, 1, 0.5, 0, 0],
        [0, 0, 0, 1, 2, 3, 1, 0],
        [0, 0, -1, 0, 0, 1, 0.5, 0],
    ]
)


@njit
def meet(
    solids: np.ndarray, kind: int, row: int, origin: Vec, direction: Vec
) -> tuple[float, float, float, float]:
    t = hit(solids, kind, row, origin, direction)
    p = (origin[0] + t * direction[0], origin[1] + t * direction[1], origin[2] + t * direction[2])
    n = surface(solids, kind, row, p)[0]
    return t, n[0], n[1], n[2]


@pytest.mark.parametrize(
    ("kind", "origin", "direction", "expected"),
    [
        (BOX, (0, 0, 10), (0, 0, -1), (7, 0, 0, 1)),
        (BOX, (10 * C, 10 * S, 0), (-C, -S, 0), (9, C, S, 0)),
        (CONE, (0.2, 0, 10), (0, 0, -2), (4.5, 0, 0, 1)),
        (CONE, (0.2, 0, -10), (0, 0, 1), (9, 0, 0, -1)),
        (CONE, (10, 0, 0), (-1, 0, 0), (9, 2 / math.sqrt(5), 0, 1 / math.sqrt(5))),
        (ELLIPSOID, (0, 10, 0), (0, -1, 0), (8, 0, 1, 0)),
        (CAPSULE, (10, 0, 0.3), (-1, 0, 0), (9.5, 1, 0, 0)),
        (CAPSULE, (0, 0, 10), (0, 0, -1), (8.5, 0, 0, 1)),
        (CAPSULE, (0, 0, -10), (0, 0, 1), (8.5, 0, 0, -1)),
    ],
)  # fmt: skip
def test_distance_and_normal(kind: int, origin: Vec, direction: Vec, expected: tuple[float, ...]) -> None:
    found = meet(SOLIDS, kind, kind, tuple(map(float, origin)), tuple(map(float, direction)))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("kind", [BOX, CONE, ELLIPSOID, CAPSULE])
def test_miss(kind: int) -> None:
    assert meet(SOLIDS, kind, kind, (10.0, 10.0, 10.0), (1.0, 0.1, 0.2))[0] == FAR
    assert meet(SOLIDS, kind, kind, (10.0, 10.0, 10.0), (-1.0, 0.0, 0.0))[0] == FAR

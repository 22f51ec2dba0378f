"""The normal of a solid at a point of its surface, and where that point lies on its texture."""

import math

import numpy as np

from .compiled import inlined
from .solids import Vec, to_local, to_world
from .vocabulary import BOX, CONE, ELLIPSOID

Surface = tuple[Vec, float, float]


@inlined
def unit(v: Vec) -> Vec:
    """Scaled to length 1."""
    n = 1.0 / math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return v[0] * n, v[1] * n, v[2] * n


@inlined
def flat(q: Vec, n: Vec) -> tuple[float, float]:
    """Texture coordinates in metres: q seen along the largest axis of n."""
    x, y, z = abs(n[0]), abs(n[1]), abs(n[2])
    if z >= x and z >= y:
        return q[0], q[1]
    return (q[1], q[2]) if x >= y else (q[0], q[2])


@inlined
def box_normal(s: np.ndarray, i: int, q: Vec) -> Vec:
    """Local normal of the face that q is nearest to."""
    x, y, z = q[0] / s[i, 3], q[1] / s[i, 4], q[2] / s[i, 5]
    if abs(x) >= abs(y) and abs(x) >= abs(z):
        return math.copysign(1.0, x), 0.0, 0.0
    if abs(y) >= abs(z):
        return 0.0, math.copysign(1.0, y), 0.0
    return 0.0, 0.0, math.copysign(1.0, z)


@inlined
def cone_normal(s: np.ndarray, i: int, q: Vec) -> Vec:
    """Normal of the caps or of the mantle; q is relative to the middle of the base."""
    height = s[i, 4] - s[i, 2]
    radius = math.sqrt(q[0] * q[0] + q[1] * q[1])
    slope = (s[i, 5] - s[i, 3]) / height
    inside = s[i, 3] + slope * q[2] - radius
    if inside > 1e-7 and q[2] < 0.5 * height:
        return 0.0, 0.0, -1.0
    if inside > 1e-7:
        return 0.0, 0.0, 1.0
    return unit((q[0], q[1], -slope * radius))


@inlined
def surface(s: np.ndarray, kind: int, i: int, p: Vec) -> Surface:
    """World normal (outwards) and texture coordinates of solid i at p."""
    q = (p[0] - s[i, 0], p[1] - s[i, 1], p[2] - s[i, 2])
    if kind in (BOX, ELLIPSOID):
        q = to_local(s, i, q)
        if kind == BOX:
            n = box_normal(s, i, q)
        else:
            rx, ry, rz = s[i, 3], s[i, 4], s[i, 5]
            n = unit((q[0] / (rx * rx), q[1] / (ry * ry), q[2] / (rz * rz)))
        u, v = flat(q, n)
        return to_world(s, i, n), u, v
    if kind == CONE:
        n = cone_normal(s, i, q)
    else:
        bx, by, bz = s[i, 3] - s[i, 0], s[i, 4] - s[i, 1], s[i, 5] - s[i, 2]
        t = (q[0] * bx + q[1] * by + q[2] * bz) / (bx * bx + by * by + bz * bz)
        t = min(max(t, 0.0), 1.0)
        n = unit((q[0] - t * bx, q[1] - t * by, q[2] - t * bz))
    u, v = flat(q, n)
    return n, u, v

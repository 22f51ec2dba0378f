"""Ray against solid, in compiled scalar code.

Parameters of a solid, by kind:
    BOX        centre (3), half edges (3), cos and sin of its yaw
    CONE       x, y of its upright axis, lower z, lower radius, upper z, upper radius
    ELLIPSOID  centre (3), radii (3), cos and sin of its yaw
    CAPSULE    both ends of its segment (3 + 3), radius
A ray is o + t d; d need not have unit length. Every `hit_*` gives the smallest t > NEAR, or FAR.
"""

import math

import numpy as np

from .compiled import inlined
from .vocabulary import BOX, CONE, ELLIPSOID

NEAR = 1e-4
FAR = 1e30
TINY = 1e-12
Vec = tuple[float, float, float]


@inlined
def inverse(d: float) -> float:
    """1 / d, finite also where d is 0."""
    return 1.0 / d if abs(d) > TINY else 1.0 / TINY


@inlined
def hit_slabs(low: Vec, high: Vec, o: Vec, inv: Vec) -> float:
    """Axis-aligned box; a ray that starts inside hits the far side."""
    x0, x1 = (low[0] - o[0]) * inv[0], (high[0] - o[0]) * inv[0]
    y0, y1 = (low[1] - o[1]) * inv[1], (high[1] - o[1]) * inv[1]
    z0, z1 = (low[2] - o[2]) * inv[2], (high[2] - o[2]) * inv[2]
    near = max(min(x0, x1), min(y0, y1), min(z0, z1))
    far = min(max(x0, x1), max(y0, y1), max(z0, z1))
    if near > far or far < NEAR:
        return FAR
    return near if near > NEAR else far


@inlined
def to_local(s: np.ndarray, i: int, v: Vec) -> Vec:
    """Turn a vector into the axes of a BOX or ELLIPSOID."""
    c, n = s[i, 6], s[i, 7]
    return c * v[0] + n * v[1], c * v[1] - n * v[0], v[2]


@inlined
def to_world(s: np.ndarray, i: int, v: Vec) -> Vec:
    """Turn a vector back out of the axes of a BOX or ELLIPSOID."""
    c, n = s[i, 6], s[i, 7]
    return c * v[0] - n * v[1], n * v[0] + c * v[1], v[2]


@inlined
def hit_box(s: np.ndarray, i: int, o: Vec, d: Vec) -> float:
    """Turned box."""
    q = to_local(s, i, (o[0] - s[i, 0], o[1] - s[i, 1], o[2] - s[i, 2]))
    e = to_local(s, i, d)
    h = (s[i, 3], s[i, 4], s[i, 5])
    return hit_slabs((-h[0], -h[1], -h[2]), h, q, (inverse(e[0]), inverse(e[1]), inverse(e[2])))


@inlined
def hit_ellipsoid(s: np.ndarray, i: int, o: Vec, d: Vec) -> float:
    """Unit sphere after scaling by the radii."""
    q = to_local(s, i, (o[0] - s[i, 0], o[1] - s[i, 1], o[2] - s[i, 2]))
    e = to_local(s, i, d)
    rx, ry, rz = 1.0 / s[i, 3], 1.0 / s[i, 4], 1.0 / s[i, 5]
    qx, qy, qz, ex, ey, ez = q[0] * rx, q[1] * ry, q[2] * rz, e[0] * rx, e[1] * ry, e[2] * rz
    a = ex * ex + ey * ey + ez * ez
    b = ex * qx + ey * qy + ez * qz
    c = qx * qx + qy * qy + qz * qz - 1.0
    root = b * b - a * c
    if root < 0.0:
        return FAR
    t = (-b - math.sqrt(root)) / a
    return t if t > NEAR else FAR


@inlined
def hit_cone(s: np.ndarray, i: int, o: Vec, d: Vec) -> float:
    """Upright truncated cone: its mantle and both caps."""
    z0, r0, z1, r1 = s[i, 2], s[i, 3], s[i, 4], s[i, 5]
    x, y, z = o[0] - s[i, 0], o[1] - s[i, 1], o[2] - z0
    k = (r1 - r0) / (z1 - z0)
    r, dr = r0 + k * z, k * d[2]
    a = d[0] * d[0] + d[1] * d[1] - dr * dr
    b = x * d[0] + y * d[1] - r * dr
    c = x * x + y * y - r * r
    best = FAR
    root = b * b - a * c
    if root >= 0.0 and abs(a) > TINY:
        t = (-b - math.sqrt(root)) / a
        level = z + t * d[2]
        if t > NEAR and 0.0 <= level <= z1 - z0:
            best = t
    if abs(d[2]) > TINY:
        level, radius = (0.0, r0) if d[2] > 0.0 else (z1 - z0, r1)
        t = (level - z) / d[2]
        px, py = x + t * d[0], y + t * d[1]
        if NEAR < t < best and px * px + py * py <= radius * radius:
            best = t
    return best


@inlined
def hit_capsule(s: np.ndarray, i: int, o: Vec, d: Vec) -> float:
    """Cylinder around the segment, with a half sphere at either end."""
    bx, by, bz = s[i, 3] - s[i, 0], s[i, 4] - s[i, 1], s[i, 5] - s[i, 2]
    ax, ay, az, r2 = o[0] - s[i, 0], o[1] - s[i, 1], o[2] - s[i, 2], s[i, 6] * s[i, 6]
    bb, bd = bx * bx + by * by + bz * bz, bx * d[0] + by * d[1] + bz * d[2]
    ba, da = bx * ax + by * ay + bz * az, d[0] * ax + d[1] * ay + d[2] * az
    aa, dd = ax * ax + ay * ay + az * az, d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    a, b, c = bb * dd - bd * bd, bb * da - ba * bd, bb * (aa - r2) - ba * ba
    root = b * b - a * c
    if root < 0.0:
        return FAR
    t = (-b - math.sqrt(root)) / a if a > TINY else -FAR
    along = ba + t * bd
    if 0.0 < along < bb:
        return t if t > NEAR else FAR
    if along > 0.0:
        ax, ay, az = ax - bx, ay - by, az - bz
    b, c = d[0] * ax + d[1] * ay + d[2] * az, ax * ax + ay * ay + az * az - r2
    root = b * b - dd * c
    if root < 0.0:
        return FAR
    t = (-b - math.sqrt(root)) / dd
    return t if t > NEAR else FAR


@inlined
def hit(s: np.ndarray, kind: int, i: int, o: Vec, d: Vec) -> float:
    """Solid i, of whichever kind."""
    if kind == BOX:
        return hit_box(s, i, o, d)
    if kind == CONE:
        return hit_cone(s, i, o, d)
    if kind == ELLIPSOID:
        return hit_ellipsoid(s, i, o, d)
    return hit_capsule(s, i, o, d)

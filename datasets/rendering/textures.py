"""Procedural textures from integer hashes: no state, the same on every machine."""

import math

import numpy as np

from .compiled import inlined
from .solids import Vec
from .vocabulary import CLOUDY, OUTDOORS, PAINTING, PLAIN, PLANKS, STRIPES, TILES, WOOD


@inlined
def hashed(x: int, y: int, seed: int) -> float:
    """A double in [0, 1) that looks random in all three arguments."""
    h = (
        np.uint32(x) * np.uint32(0x9E3779B1)
        ^ np.uint32(y) * np.uint32(0x85EBCA77)
        ^ np.uint32(seed) * np.uint32(0xC2B2AE3D)
    )
    h = np.uint32(h)
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    h = np.uint32((h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    return h * (1.0 / 4294967296.0)


@inlined
def noise(x: float, y: float, seed: int) -> float:
    """Smooth noise in [0, 1) with features of size 1."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    u, v = x - fx, y - fy
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    low = hashed(i, j, seed) * (1.0 - u) + hashed(i + 1, j, seed) * u
    high = hashed(i, j + 1, seed) * (1.0 - u) + hashed(i + 1, j + 1, seed) * u
    return low * (1.0 - v) + high * v


@inlined
def mix(a: Vec, b: Vec, w: float) -> Vec:
    """The colour between a (w = 0) and b (w = 1)."""
    return a[0] + (b[0] - a[0]) * w, a[1] + (b[1] - a[1]) * w, a[2] + (b[2] - a[2]) * w


@inlined
def fraction(x: float) -> float:
    """X modulo 1, in [0, 1)."""
    return x - math.floor(x)


@inlined
def planks(u: float, v: float, seed: int) -> float:
    """Boards three times as long as wide, laid in rows; 1 in the joints."""
    row = math.floor(v)
    along = u / 3.0 + hashed(int(row), 7, seed)
    board = math.floor(along)
    if v - row < 0.06 or along - board < 0.015:
        return 1.0
    grain = noise(u * 1.5, v * 9.0, seed)
    return 0.55 * hashed(int(board), int(row), seed) + 0.3 * grain


@inlined
def tiles(u: float, v: float, seed: int) -> float:
    """Chequered square tiles with bright joints."""
    fu, fv = fraction(u), fraction(v)
    if fu < 0.05 or fv < 0.05:
        return 0.5
    i, j = math.floor(u), math.floor(v)
    return 0.8 * ((i + j) & 1) + 0.2 * hashed(i, j, seed)


@inlined
def painting(first: Vec, second: Vec, u: float, v: float, seed: int) -> Vec:
    """Warped patches of colours between, and aside of, the two given ones."""
    wu = u + 0.7 * noise(u * 1.3, v * 1.3, seed + 1)
    wv = v + 0.7 * noise(u * 1.3, v * 1.3, seed + 2)
    i, j = math.floor(wu), math.floor(wv)
    base = mix(first, second, hashed(i, j, seed))
    odd = (hashed(i, j, seed + 3), hashed(i, j, seed + 4), hashed(i, j, seed + 5))
    return mix(base, odd, 0.4)


@inlined
def outdoors(first: Vec, second: Vec, u: float, v: float, seed: int) -> Vec:
    """Sky with clouds above a bumpy horizon, foliage below."""
    horizon = 0.15 * noise(u * 2.0, 0.5, seed) - 0.1
    if v > horizon:
        return mix(first, (1.0, 1.0, 1.0), 0.8 * noise(u * 1.5, v * 3.0, seed + 1))
    return mix(second, (0.1, 0.2, 0.08), noise(u * 9.0, v * 9.0, seed + 2))


@inlined
def weight(kind: int, u: float, v: float, seed: int) -> float:
    """Share of a texture's second colour at (u, v), in units of its scale."""
    if kind == PLAIN:
        return 0.25 * noise(u * 2.0, v * 2.0, seed)
    if kind == CLOUDY:
        return 0.65 * noise(u, v, seed) + 0.35 * noise(u * 4.0, v * 4.0, seed + 1)
    if kind == WOOD:
        return 0.7 * noise(u * 0.7, v * 7.0, seed) + 0.3 * noise(u * 2.0, v * 25.0, seed + 1)
    if kind == TILES:
        return tiles(u, v, seed)
    if kind == STRIPES:
        return 0.85 * (fraction(u) < 0.5) + 0.15 * noise(u * 3.0, v * 3.0, seed)
    if kind == PLANKS:
        return planks(u, v, seed)
    return 0.5 * ((fraction(u) < 0.4) + (fraction(v) < 0.4))


@inlined
def albedo(m: np.ndarray, k: int, u: float, v: float) -> Vec:
    """Colour of material k at (u, v) in metres."""
    kind, scale, seed = int(m[k, 0]), m[k, 1], int(m[k, 10])
    first, second = (m[k, 2], m[k, 3], m[k, 4]), (m[k, 5], m[k, 6], m[k, 7])
    u, v = u * scale, v * scale
    if kind == PAINTING:
        return painting(first, second, u, v, seed)
    if kind == OUTDOORS:
        return outdoors(first, second, u, v, seed)
    return mix(first, second, weight(kind, u, v, seed))

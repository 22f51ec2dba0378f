"""What a ray sees: the nearest surface, its labels and its light."""

import math

import numpy as np

from .builder import Scene
from .compiled import inlined
from .solids import FAR, Vec, hit, inverse
from .surfaces import surface, unit
from .textures import albedo, hashed

Sight = tuple[float, int, Vec, Vec]


@inlined
def enter(b: np.ndarray, g: int, o: Vec, inv: Vec) -> float:
    """Where a ray enters the bounds of object g: FAR if never, 0 or less from inside."""
    x0, x1 = (b[g, 0] - o[0]) * inv[0], (b[g, 3] - o[0]) * inv[0]
    y0, y1 = (b[g, 1] - o[1]) * inv[1], (b[g, 4] - o[1]) * inv[1]
    z0, z1 = (b[g, 2] - o[2]) * inv[2], (b[g, 5] - o[2]) * inv[2]
    near = max(min(x0, x1), min(y0, y1), min(z0, z1))
    far = min(max(x0, x1), max(y0, y1), max(z0, z1))
    return FAR if near > far or far < 0.0 else near


@inlined
def nearest(scene: Scene, o: Vec, d: Vec) -> tuple[float, int]:
    """The first solid along a ray: (t, its row), or (FAR, -1)."""
    inv = (inverse(d[0]), inverse(d[1]), inverse(d[2]))
    best, row = FAR, -1
    for g in range(len(scene.bounds)):
        if enter(scene.bounds, g, o, inv) < best:
            for i in range(scene.spans[g, 0], scene.spans[g, 1]):
                t = hit(scene.solids, scene.kinds[i], i, o, d)
                if t < best:
                    best, row = t, i
    return best, row


@inlined
def blocked(scene: Scene, o: Vec, d: Vec) -> bool:
    """Whether a solid that casts shadows lies between o and o + d."""
    inv = (inverse(d[0]), inverse(d[1]), inverse(d[2]))
    for g in range(len(scene.bounds)):
        if enter(scene.bounds, g, o, inv) < 1.0:
            for i in range(scene.spans[g, 0], scene.spans[g, 1]):
                if scene.casts[i] and hit(scene.solids, scene.kinds[i], i, o, d) < 1.0:
                    return True
    return False


@inlined
def room_face(room: np.ndarray, o: Vec, d: Vec) -> tuple[float, int]:
    """Where a ray from inside leaves the room: (t, face 0 to 5 in the order of `ROOM_SEMANTICS`)."""
    tx = ((room[0] if d[0] > 0.0 else 0.0) - o[0]) * inverse(d[0])
    ty = ((room[1] if d[1] > 0.0 else 0.0) - o[1]) * inverse(d[1])
    tz = ((room[2] if d[2] > 0.0 else 0.0) - o[2]) * inverse(d[2])
    if tz <= tx and tz <= ty:
        return tz, 1 if d[2] > 0.0 else 0
    if tx <= ty:
        return tx, 3 if d[0] > 0.0 else 2
    return ty, 5 if d[1] > 0.0 else 4


@inlined
def face_surface(face: int, p: Vec) -> tuple[Vec, float, float]:
    """Inward normal and texture coordinates of a face of the room."""
    if face < 2:
        return (0.0, 0.0, 1.0 if face == 0 else -1.0), p[0], p[1]
    if face < 4:
        return (1.0 if face == 2 else -1.0, 0.0, 0.0), p[1], p[2]
    return (0.0, 1.0 if face == 4 else -1.0, 0.0), p[0], p[2]


@inlined
def crevice(room: np.ndarray, p: Vec) -> float:
    """Dimming of the ambient light near the room's corners, 0.55 to 1."""
    x, y, z = min(p[0], room[0] - p[0]), min(p[1], room[1] - p[1]), min(p[2], room[2] - p[2])
    second = max(min(x, y), min(max(x, y), z))  # the median: distance to the second nearest face
    return 0.55 + 0.45 * min(1.0, second / 0.7)


@inlined
def illumination(scene: Scene, p: Vec, n: Vec, view: Vec, gloss: float, salt: int) -> tuple[Vec, float]:
    """Light that arrives at p: (diffuse red, green, blue; specular)."""
    dim = crevice(scene.room, p)
    red, green, blue, shine = dim * scene.look[0], dim * scene.look[1], dim * scene.look[2], 0.0
    o = (p[0] + 1e-3 * n[0], p[1] + 1e-3 * n[1], p[2] + 1e-3 * n[2])
    for k in range(len(scene.lights)):
        light = scene.lights[k]
        jitter = 0.08 * (hashed(salt, k, scene.seed) - 0.5)  # of the lamp's place: half shadows
        d = (light[0] + jitter - o[0], light[1] - jitter - o[1], light[2] - o[2])
        cosine = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
        if cosine <= 0.0 or blocked(scene, o, d):
            continue
        square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        power = cosine / math.sqrt(square) / (1.0 + 0.25 * square)
        red, green, blue = red + power * light[3], green + power * light[4], blue + power * light[5]
        if gloss > 0.0:
            u = unit(d)
            half = unit((u[0] - view[0], u[1] - view[1], u[2] - view[2]))
            peak = max(0.0, n[0] * half[0] + n[1] * half[1] + n[2] * half[2])
            peak = peak * peak
            peak = peak * peak
            peak = peak * peak
            shine += gloss * peak * peak * peak * power * light[4]
    return (red, green, blue), shine


@inlined
def look_along(scene: Scene, x: float, y: float, salt: int) -> Sight:
    """Trace the camera ray through (x, y) of the image plane at distance 1.

    Returns:
        z-depth in metres; the solid's row, or -1 - face for the room; the world normal; linear colour.
    """
    c = scene.camera
    o = (c[0], c[1], c[2])
    d = (c[9] + x * c[3] + y * c[6], c[10] + x * c[4] + y * c[7], c[11] + x * c[5] + y * c[8])
    depth, row = nearest(scene, o, d)
    limit, face = room_face(scene.room, o, d)
    if limit < depth:
        depth, row = limit, -1 - face
    p = (o[0] + depth * d[0], o[1] + depth * d[1], o[2] + depth * d[2])
    if row < 0:
        n, u, v = face_surface(face, p)
        material = face
    else:
        n, u, v = surface(scene.solids, scene.kinds[row], row, p)
        material = scene.material_of[row]
    m = scene.materials
    colour = albedo(m, material, u, v)
    glow = m[material, 8]
    if glow < 1.0:
        light, shine = illumination(scene, p, n, unit(d), m[material, 9], salt)
    else:
        light, shine = (0.0, 0.0, 0.0), 0.0
    red, green, blue = light[0] + glow, light[1] + glow, light[2] + glow
    return depth, row, n, (colour[0] * red + shine, colour[1] * green + shine, colour[2] * blue + shine)

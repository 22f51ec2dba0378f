"""One scene to one picture with all labels."""

from dataclasses import dataclass

import numpy as np

from . import annotate
from .builder import Scene
from .kernels import develop, smooth, trace
from .vocabulary import Semantic


@dataclass(frozen=True)
class Rendered:
    """A picture and its exact labels.

    Attributes:
        image: (3, H, W) uint8 RGB.
        semseg: (H, W) uint8, index into `CLASSES`.
        human_parts: (H, W) uint8, index into `PARTS`; all 255 where the picture shows no person.
        sal: (H, W) uint8, see `annotate.salience`.
        edge: (H, W) uint8, see `annotate.boundaries`.
        depth: (H, W) float32, z-depth (along the optical axis) in metres.
        normals: (3, H, W) float32, unit vectors, in the camera frame: x right, y up, z backward.
        instances: (H, W) uint8; 0 to 5 are floor, ceiling and walls.
        solids: (H, W) int32, the solid that is seen, below 0 for faces of the room.
    """

    image: np.ndarray
    semseg: np.ndarray
    human_parts: np.ndarray
    sal: np.ndarray
    edge: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    instances: np.ndarray
    solids: np.ndarray


def render(scene: Scene, height: int, width: int) -> Rendered:
    """Trace one ray a pixel centre for the labels, more on silhouettes for the picture."""
    solids = np.empty((height, width), np.int32)
    depth = np.empty((height, width), np.float32)
    normals = np.empty((3, height, width), np.float32)
    light = np.empty((height, width, 3), np.float32)
    image = np.empty((3, height, width), np.uint8)
    trace(scene, solids, depth, normals, light)
    smooth(scene, solids, light)
    instances = np.where(solids < 0, -1 - solids, scene.instance_of[np.maximum(solids, 0)]).astype(np.uint8)
    develop(light, scene.look, scene.seed, image)
    semseg = scene.semantics.astype(np.uint8)[instances]
    return Rendered(
        image=image,
        semseg=semseg,
        human_parts=_parts(scene, solids, semseg),
        sal=annotate.salience(instances, scene.semantics),
        edge=annotate.boundaries(instances, depth),
        depth=depth,
        normals=normals,
        instances=instances,
        solids=solids,
    )


def _parts(scene: Scene, solids: np.ndarray, semseg: np.ndarray) -> np.ndarray:
    if not (semseg == Semantic.PERSON).any():
        return np.full(semseg.shape, 255, dtype=np.uint8)
    parts = scene.part_of.astype(np.uint8)[np.maximum(solids, 0)]
    parts[solids < 0] = 0
    return parts

"""The training pipeline of InvPT (that of ATRC too), as its paper's code runs it, for comparison.

Step by step: load with Pillow and numpy as float32; zoom with OpenCV (image bilinear, labels nearest, depth
divided by the zoom); crop, redrawn up to ten times while one class has three quarters of it; flip;
photometric distortion on 8 bits with OpenCV's HSV; normalisation; centred padding; ignored regions; to
tensors, float32 throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from mtlbench.datasets import chance
from mtlbench.datasets.photometric import Distortion
from PIL import Image
from torch import Tensor

Maps = dict[str, np.ndarray]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
PADDING = {"image": 0, "semseg": 255, "edge": 255, "depth": 0, "normals": 0}
"""In float32; the image is padded after its normalisation."""


@dataclass(frozen=True)
class PublishedPipeline:
    """NYUDv2 (png files), four tasks; randomness from torch's generator, in the order of the steps."""

    root: Path
    size: tuple[int, int]

    def __call__(self, name: str) -> dict[str, Tensor]:
        """One training sample: image (3, H, W) normalised, labels (C, H, W), all float32."""
        return self.transform(self.load(name))

    def load(self, name: str) -> Maps:
        """All maps of an image as float32 (H, W, C); semseg 255 where unlabelled."""
        semseg = self._picture("segmentation", name)[..., None]
        semseg = np.where(semseg == 0, 255, semseg - 1)
        return {
            "image": self._picture("images", name),
            "semseg": semseg,
            "edge": self._picture("edge", name)[..., None] / 255,
            "normals": 2 * self._picture("normals", name) / 255 - 1,
            "depth": np.load(self.root / "depth" / f"{name}.npy").astype(np.float32)[..., None],
        }

    def _picture(self, folder: str, name: str) -> np.ndarray:
        with Image.open(self.root / folder / f"{name}.png") as image:
            return np.array(image, dtype=np.float32)

    def transform(self, maps: Maps) -> dict[str, Tensor]:
        """The eight steps."""
        maps = self._crop(_zoom(maps, chance.uniform(0.5, 2.0)))
        if chance.coin():
            maps = _flip(maps)
        maps["image"] = distort(maps["image"], Distortion.draw())
        maps["image"] = (maps["image"] / 255 - MEAN) / STD
        maps = {name: self._pad(values, PADDING[name]) for name, values in maps.items()}
        maps = _ignore(maps)
        return {name: torch.from_numpy(values.transpose(2, 0, 1).copy()) for name, values in maps.items()}

    def _crop(self, maps: Maps) -> Maps:
        height, width = maps["image"].shape[:2]
        high, wide = min(self.size[0], height), min(self.size[1], width)

        def draw() -> tuple[slice, slice]:
            top, left = chance.integer(0, height - high), chance.integer(0, width - wide)
            return slice(top, top + high), slice(left, left + wide)

        window = draw()
        for _ in range(10):
            labels, counts = np.unique(maps["semseg"][window], return_counts=True)
            counts = counts[labels != 255]
            if len(counts) > 1 and counts.max() / counts.sum() < 0.75:
                break
            window = draw()
        return {name: values[window] for name, values in maps.items()}

    def _pad(self, values: np.ndarray, fill: float) -> np.ndarray:
        down, right = self.size[0] - values.shape[0], self.size[1] - values.shape[1]
        sides = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))
        return np.pad(values, sides, constant_values=fill)


def _zoom(maps: Maps, zoom: float) -> Maps:
    height, width = maps["image"].shape[:2]
    size = int(width * zoom), int(height * zoom)
    zoomed = {}
    for name, values in maps.items():
        how = cv2.INTER_LINEAR if name == "image" else cv2.INTER_NEAREST
        zoomed[name] = cv2.resize(values, size, interpolation=how).reshape(size[1], size[0], -1)
    zoomed["depth"] = zoomed["depth"] / np.float32(zoom)
    return zoomed


def _flip(maps: Maps) -> Maps:
    flipped = {name: np.fliplr(values).copy() for name, values in maps.items()}
    flipped["normals"][..., 0] *= -1
    return flipped


def distort(image: np.ndarray, draw: Distortion) -> np.ndarray:
    """(H, W, 3) float32 to 8 bits by truncation, its colours changed, to float32."""
    image = image.astype(np.uint8)
    if draw.brightness is not None:
        image = _convert(image, beta=draw.brightness)
    if draw.contrast is not None and draw.contrast_first:
        image = _convert(image, alpha=draw.contrast)
    if draw.saturation is not None:
        image = _in_hsv(image, 1, lambda s: _convert(s, alpha=draw.saturation))
    if draw.hue is not None:
        image = _in_hsv(image, 0, lambda h: ((h.astype(int) + draw.hue) % 180).astype(np.uint8))
    if draw.contrast is not None and not draw.contrast_first:
        image = _convert(image, alpha=draw.contrast)
    return image.astype(np.float32)


def _convert(image: np.ndarray, alpha: float | None = 1.0, beta: float = 0.0) -> np.ndarray:
    return np.clip(image.astype(np.float32) * np.float32(alpha) + np.float32(beta), 0, 255).astype(np.uint8)


def _in_hsv(image: np.ndarray, channel: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., channel] = change(hsv[..., channel])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _ignore(maps: Maps) -> Maps:
    x, y, z = (maps["normals"][..., channel] for channel in range(3))
    invalid = np.sqrt(x * x + y * y + z * z) == 0
    maps["normals"][invalid] = 255
    maps["depth"][maps["depth"] == 0] = 255
    return maps

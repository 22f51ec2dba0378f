"""Changes of colour on uint8 images, with the rounding of the published code (OpenCV's 8-bit HSV)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torchvision import tv_tensors

from . import chance


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """One draw of the photometric distortion of the ATRC family; None leaves a step out.

    Attributes:
        brightness: added, -32..32.
        contrast: factor, 0.5..1.5.
        contrast_first: before saturation and hue, or after.
        saturation: factor on HSV's S, 0.5..1.5.
        hue: added to HSV's H (0..179), -18..17.
    """

    brightness: float | None = None
    contrast: float | None = None
    contrast_first: bool = True
    saturation: float | None = None
    hue: int | None = None

    @classmethod
    def draw(cls) -> "Distortion":
        """Each step in half of the cases."""
        return cls(
            brightness=chance.uniform(-32, 32) if chance.coin() else None,
            contrast_first=chance.coin(),
            contrast=chance.uniform(0.5, 1.5) if chance.coin() else None,
            saturation=chance.uniform(0.5, 1.5) if chance.coin() else None,
            hue=chance.integer(-18, 17) if chance.coin() else None,
        )

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 to the same; every step clips and truncates."""
        first, last = _identity(), _identity()
        if self.brightness is not None:
            first = _truncated(first + np.float32(self.brightness))
        if self.contrast is not None:
            table = _truncated(_identity() * np.float32(self.contrast))
            first, last = (table[first], last) if self.contrast_first else (first, table)
        changed = np.empty(tuple(image.shape), np.uint8)
        _map(image.as_subclass(Tensor).numpy(), first, changed)
        if self.saturation is not None:
            _change_hsv(changed, _truncated(_identity() * np.float32(self.saturation)), 0)
        if self.hue is not None:
            _change_hsv(changed, _identity(), self.hue)
        if self.contrast is not None and not self.contrast_first:
            _map(changed, last, changed)
        return tv_tensors.wrap(torch.from_numpy(changed), like=image)


def jitter(image: Tensor) -> Tensor:
    """Mild random gain and offset of each channel, (3, H, W) uint8 to the same."""
    gain = 0.85 + 0.3 * torch.rand(()) + 0.1 * (torch.rand(3, 1) - 0.5)
    table = (gain * torch.arange(256.0) + chance.uniform(-12, 12)).clamp_(0, 255).to(torch.uint8).numpy()
    pixels = image.as_subclass(Tensor).numpy()
    changed = np.stack([np.take(table[channel], pixels[channel]) for channel in range(3)])
    return tv_tensors.wrap(torch.from_numpy(changed), like=image)


def _identity() -> np.ndarray:
    return np.arange(256, dtype=np.uint8)


def _truncated(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _map(image: np.ndarray, table: np.ndarray, result: np.ndarray) -> None:
    """table[image], all uint8; image and result are (3, H, W) and may be the same."""
    for band in range(image.shape[0]):
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                result[band, i, j] = table[image[band, i, j]]


@njit(cache=True, nogil=True, error_model="numpy")
def _change_hsv(image: np.ndarray, saturations: np.ndarray, turn: int) -> None:
    """Map S through a table and add `turn` to H, in place; (3, H, W) uint8 RGB, OpenCV's 8-bit rules."""
    by_value, by_range = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for k in range(1, 256):
        by_value[k] = round((255 << 12) / k)
        by_range[k] = round((180 << 12) / (6.0 * k))
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            r, g, b = np.int64(image[0, i, j]), np.int64(image[1, i, j]), np.int64(image[2, i, j])
            v = max(r, g, b)
            spread = v - min(r, g, b)
            s = saturations[(spread * by_value[v] + 2048) >> 12]
            if v == r:
                h = g - b
            elif v == g:
                h = b - r + 2 * spread
            else:
                h = r - g + 4 * spread
            h = ((h * by_range[spread] + 2048) >> 12) + turn
            image[0, i, j], image[1, i, j], image[2, i, j] = _to_rgb((h + 180) % 180, s, v)


@njit(error_model="numpy")
def _to_rgb(h: Any, s: Any, v: Any) -> tuple[int, int, int]:
    """HSV of 0..179, 0..255, 0..255 to RGB, rounded."""
    share = s / 255.0
    sector = h // 30
    part = (h - 30 * sector) / 30.0
    low = int(v * (1.0 - share) + 0.5)
    falling = int(v * (1.0 - share * part) + 0.5)
    rising = int(v * (1.0 - share * (1.0 - part)) + 0.5)
    if sector == 0:
        return v, rising, low
    if sector == 1:
        return falling, v, low
    if sector == 2:
        return low, v, rising
    if sector == 3:
        return low, falling, v
    if sector == 4:
        return rising, low, v
    return v, low, falling

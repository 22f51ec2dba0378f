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
        changed = np.take(self.first, image.as_subclass(Tensor).numpy())
        self._finish(changed)
        return tv_tensors.wrap(torch.from_numpy(changed), like=image)

    @property
    def first(self) -> np.ndarray:
        """The steps up to saturation as one table of 256 values."""
        table = _identity()
        if self.brightness is not None:
            table = _truncated(table + np.float32(self.brightness))
        if self.contrast is not None and self.contrast_first:
            table = _truncated(_identity() * np.float32(self.contrast))[table]
        return table

    def finish(self, image: Tensor, place: tuple[slice, slice]) -> None:
        """The steps from saturation on, in place, on some rows and columns of (3, H, W) uint8."""
        self._finish(image.as_subclass(Tensor).numpy()[(slice(None), *place)])

    def _finish(self, pixels: np.ndarray) -> None:
        if self.saturation is not None:
            saturations = _truncated(_identity() * np.float32(self.saturation))
            _change_hsv(pixels, saturations.astype(np.int32), np.int32(0), *_RECIPROCALS)
        if self.hue is not None:
            _change_hsv(pixels, _identity().astype(np.int32), np.int32(self.hue), *_RECIPROCALS)
        if self.contrast is not None and not self.contrast_first:
            _map(pixels, _truncated(_identity() * np.float32(self.contrast)))


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


def _reciprocals() -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's, with 12 bits after the point: 255 / k for saturation, 30 / k for hue; 0 for k = 0."""
    k = np.arange(1, 256)
    by_value = np.rint(np.r_[0, (255 << 12) / k]).astype(np.int32)
    return by_value, np.rint(np.r_[0, (180 << 12) / (6.0 * k)]).astype(np.int32)


_RECIPROCALS = _reciprocals()


@njit(cache=True, nogil=True)
def _map(image: np.ndarray, table: np.ndarray) -> None:
    """Each value through the table, in place on (3, H, W) uint8."""
    for c in range(image.shape[0]):
        for i in range(image.shape[1]):
            row = image[c, i]
            for j in range(row.size):
                row[j] = table[row[j]]


@njit(cache=True, nogil=True)
def _change_hsv(
    image: np.ndarray, saturations: np.ndarray, turn: Any, by_value: np.ndarray, by_spread: np.ndarray
) -> None:
    """RGB to HSV (0..179, 0..255, 0..255), S through a table, `turn` added to H, and back.

    In place on (3, H, W) uint8, with OpenCV's 8-bit rules: back to RGB it truncates, but for the last pixels
    of a row (as many as don't fill a vector register), which it rounds; here all are truncated. Three short
    loops a row, so that the first and the last are done on many pixels at once; all in int32 or float32.
    """
    width, bits, half = image.shape[2], np.int32(12), np.int32(2048)
    value, spread, hue = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.int32)
    saturation = np.empty(width, np.int32)
    for i in range(image.shape[1]):
        red, green, blue = image[0, i], image[1, i], image[2, i]
        for j in range(width):
            r, g, b = np.int32(red[j]), np.int32(green[j]), np.int32(blue[j])
            v = max(r, max(g, b))
            d = v - min(r, min(g, b))
            ahead = r - g + d + d + d + d
            ahead = b - r + d + d if v == g else ahead
            ahead = g - b if v == r else ahead
            value[j], spread[j], hue[j] = v, d, ahead
        for j in range(width):
            k = np.uint8(spread[j])
            saturation[j] = saturations[np.uint8((spread[j] * by_value[np.uint8(value[j])] + half) >> bits)]
            hue[j] = ((hue[j] * by_spread[k] + half) >> bits) + turn
        for j in range(width):
            h = hue[j] + np.int32(180) if hue[j] < 0 else hue[j]
            h = h - np.int32(180) if h >= 180 else h
            sixth, top = np.float32(h) * np.float32(6 / 180), np.float32(value[j]) * np.float32(1 / 255)
            share = np.float32(saturation[j]) * np.float32(1 / 255)
            red[j] = _channel(top, share, sixth + np.float32(5))
            green[j] = _channel(top, share, sixth + np.float32(3))
            blue[j] = _channel(top, share, sixth + np.float32(1))


@njit(inline="always")
def _channel(top: Any, share: Any, sixth: Any) -> Any:
    """A channel, 0..255, from the largest one's value 0..1, the saturation 0..1 and its angle in sixths."""
    k = sixth - np.float32(6) if sixth >= np.float32(6) else sixth
    below = min(max(min(k, np.float32(4) - k), np.float32(0)), np.float32(1))
    return np.uint8(top * (np.float32(1) - share * below) * np.float32(255))

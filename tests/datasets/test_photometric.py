"""Photometric distortion, compared with a plain reference implementation."""

import colorsys

import numpy as np
import pytest
import torch
from mtlbench.datasets.photometric import Distortion, jitter
from torchvision import tv_tensors


def picture(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return tv_tensors.Image(torch.randint(256, (3, 9, 11), dtype=torch.uint8, generator=generator))


def truncated(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8).astype(np.float64)


def through_hsv(image: np.ndarray, saturation: float, hue: int) -> np.ndarray:
    """Reference: RGB to 8-bit HSV (H in 0..179), S scaled and truncated, H turned, and back."""
    result = np.empty_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            h, s, v = colorsys.rgb_to_hsv(*(image[:, y, x] / 255))
            s8 = truncated(np.floor(s * 255 + 0.5) * saturation)
            h8 = (int(np.floor(h * 180 + 0.5)) + hue) % 180
            result[:, y, x] = np.floor(np.array(colorsys.hsv_to_rgb(h8 / 180, s8 / 255, v)) * 255 + 1e-3)
    return result


def reference(image: np.ndarray, draw: Distortion) -> np.ndarray:
    values = image.astype(np.float64)
    if draw.brightness is not None:
        values = truncated(values + draw.brightness)
    if draw.contrast is not None and draw.contrast_first:
        values = truncated(values * draw.contrast)
    if draw.saturation is not None:
        values = through_hsv(values, draw.saturation, 0)
    if draw.hue is not None:
        values = through_hsv(values, 1.0, draw.hue)
    if draw.contrast is not None and not draw.contrast_first:
        values = truncated(values * draw.contrast)
    return values


@pytest.mark.parametrize(
    "draw",
    [
        Distortion(),
        Distortion(brightness=20.7),
        Distortion(brightness=-31.2),
        Distortion(contrast=1.43),
        Distortion(contrast=0.51, brightness=10.3),
        Distortion(contrast=0.51, brightness=10.3, contrast_first=False),
    ],
)
def test_tables_are_exact(draw: Distortion) -> None:
    image = picture()
    np.testing.assert_array_equal(draw(image).numpy(), reference(image.numpy(), draw))


@pytest.mark.parametrize(
    "draw",
    [
        Distortion(saturation=0.6),
        Distortion(saturation=1.4),
        Distortion(hue=-18),
        Distortion(hue=17),
        Distortion(saturation=1.0, hue=0),
    ],
)
def test_hsv_within_a_grey_level_of_the_reference(draw: Distortion) -> None:
    """The fixed-point hue may round to its neighbour: that moves a channel by up to 255 / 30 levels."""
    image = picture(1)
    difference = np.abs(draw(image).numpy() - reference(image.numpy(), draw))
    assert difference.max() <= 9
    assert (difference > 1).mean() < 0.02


def test_greys_stay_grey() -> None:
    grey = tv_tensors.Image(torch.arange(256, dtype=torch.uint8).expand(3, 1, -1).clone())
    assert torch.equal(Distortion(saturation=1.5, hue=11)(grey), grey)


def test_draws_cover_their_ranges() -> None:
    torch.manual_seed(0)
    draws = [Distortion.draw() for _ in range(2000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -18, 17),
    ):
        values = [getattr(draw, name) for draw in draws if getattr(draw, name) is not None]
        assert 0.45 < len(values) / len(draws) < 0.55
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
    assert 0.45 < np.mean([draw.contrast_first for draw in draws]) < 0.55


def test_images_keep_type_and_argument() -> None:
    image = picture()
    before = image.clone()
    for change in (Distortion(brightness=5, hue=3, saturation=1.2, contrast=0.8), jitter):
        changed = change(image)
        assert isinstance(changed, tv_tensors.Image)
        assert changed.dtype == torch.uint8
        assert not torch.equal(changed, before)
    assert torch.equal(image, before)

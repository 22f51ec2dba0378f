"""Training transforms by name, and the padding of evaluation images.

A transform takes and returns a sample; images stay uint8, normalisation follows on the device. All randomness
comes from torch's global generator. "No label" is 255 in class maps and 0 in depth and normals throughout.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mtlbench.data import Sample, Transform
from mtlbench.labels import ClassMap

from . import chance
from .geometry import LABELS, Window, flip, pad, resize_image, resize_nearest, zoom_values
from .photometric import Distortion, jitter

BALANCED_BY = "semseg"
"""The label whose classes decide whether a crop is accepted."""
PARTS = "human_parts"
"""The label that counts only in images that show a person."""


def atrc(size: tuple[int, int]) -> Transform:
    """Training transform of ATRC, MQTransformer, DeMT and DeGMix, with crops of `size`.

    Zoom by U(0.5, 2) (depth divided by it), balanced crop, flip, photometric distortion, centred padding.
    """

    def transform(sample: Sample) -> Sample:
        zoomed = _zoom_and_crop(sample, chance.uniform(0.5, 2.0), size)
        if chance.coin():
            zoomed = flip(zoomed)
        zoomed["image"] = Distortion.draw()(zoomed["image"])
        return pad_to(zoomed, size)

    return transform


def flip_and_jitter(size: tuple[int, int]) -> Transform:
    """Flip in half of the cases, mild change of colours; padded to `size`."""

    def transform(sample: Sample) -> Sample:
        changed = flip(sample) if chance.coin() else dict(sample)
        changed["image"] = jitter(changed["image"])
        return pad_to(changed, size)

    return transform


def none(size: tuple[int, int]) -> Transform:
    """Padding to `size` only."""
    return lambda sample: pad_to(sample, size)


TRANSFORMS: Mapping[str, Callable[[tuple[int, int]], Transform]] = {
    "atrc": atrc,
    "flip": flip_and_jitter,
    "none": none,
}


def pad_to(sample: Sample, size: tuple[int, int]) -> Sample:
    """What evaluation does: centred padding to `size`; parts without a person become "no label"."""
    return ignore_absent_people(pad(sample, size))


def ignore_absent_people(sample: Sample) -> Sample:
    """Set the body parts to 255 where they are all background or ignored, as ATRC does after its crop."""
    parts = sample.get(PARTS)
    if parts is None or ((parts != 0) & (parts != 255)).any():
        return sample
    return {**sample, PARTS: ClassMap(torch.full_like(parts.as_subclass(Tensor), 255))}


def _zoom_and_crop(sample: Sample, zoom: float, size: tuple[int, int]) -> Sample:
    """Resize by `zoom` and cut out a window of at most `size`; of labels only the window is computed."""
    height, width = sample["image"].shape[-2:]
    scaled = int(height * zoom), int(width * zoom)
    window = choose_window(sample.get(BALANCED_BY), scaled, size)
    result = dict(sample)
    for name, value in sample.items():
        if isinstance(value, tv_tensors.Image):
            result[name] = F.crop(resize_image(value, scaled), *window)
        elif isinstance(value, LABELS):
            plain = resize_nearest(value.as_subclass(Tensor), scaled, window)
            result[name] = tv_tensors.wrap(zoom_values(plain, type(value), zoom), like=value)
    return result


def choose_window(classes: Tensor | None, scaled: tuple[int, int], size: tuple[int, int]) -> Window:
    """A random window; redrawn up to 10 times while one class has 3/4 of it or more; the 11th is not tested.

    Args:
        classes: (H, W) class map before the zoom; None takes the first draw.
        scaled: height and width after the zoom.
        size: height and width of the window, where the map is that large.
    """
    window = _draw_window(scaled, size)
    if classes is None:
        return window
    plain = classes.as_subclass(Tensor)
    for _ in range(10):
        if is_varied(resize_nearest(plain, scaled, window)):
            break
        window = _draw_window(scaled, size)
    return window


def is_varied(classes: Tensor) -> bool:
    """Whether a class map holds more than one class and none has 3/4 of the labelled pixels or more."""
    counts = torch.bincount(classes.reshape(-1), minlength=256)[:255]
    return int((counts > 0).sum()) > 1 and counts.max().item() / counts.sum().item() < 0.75


def _draw_window(scaled: tuple[int, int], size: tuple[int, int]) -> Window:
    height, width = min(scaled[0], size[0]), min(scaled[1], size[1])
    return chance.integer(0, scaled[0] - height), chance.integer(0, scaled[1] - width), height, width

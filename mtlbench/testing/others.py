"""What every backbone and report must do, whoever wrote it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mtlbench.backbones.base import Backbone
from mtlbench.results import Results

SIZES = ((64, 96), (50, 67))


def check_backbone(build: Callable[..., Backbone], **options: Any) -> None:
    """Four maps of the promised widths and strides at an even and an odd size, equal for equal images."""
    backbone = build(**options).eval()
    assert len(backbone.channels) == len(backbone.strides) == 4
    for height, width in SIZES:
        images = torch.rand(2, 3, height, width)
        with torch.no_grad():
            maps, again = backbone(images), backbone(images)
        for x, y, channels, stride in zip(maps, again, backbone.channels, backbone.strides, strict=True):
            assert x.shape == (2, channels, -(-height // stride), -(-width // stride))
            assert torch.equal(x, y)
    normal = backbone.normalise(torch.full((1, 3, 4, 4), 128, dtype=torch.uint8))
    assert normal.dtype == torch.float32
    assert normal.abs().max() < 5


def check_report(write: Callable[[Results, Path], list[Path]], results: Results, folder: Path) -> None:
    """The files that it names are there, inside the folder, and not empty; a second time changes nothing."""
    written = write(results, folder)
    assert written
    for path in written:
        assert path.is_relative_to(folder)
        assert path.stat().st_size > 0
    assert write(results, folder) == written

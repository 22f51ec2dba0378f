"""Every geometric operation moves every label type, in step with the image."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mtlbench.datasets.geometry import FILL, IMAGE_FILL, LABELS, flip, nearest, pad, resize_nearest
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mtlbench.labels import ClassMap, Depth, Disparity, Normals, unit_normals

HEIGHT, WIDTH = 7, 10


def ramp(kind: type[Tensor]) -> Any:
    """Labels that differ in every pixel."""
    values = torch.arange(1, HEIGHT * WIDTH + 1).reshape(HEIGHT, WIDTH)
    if kind is ClassMap:
        return ClassMap(values.to(torch.uint8))
    channels = 3 if kind is Normals else 1
    return kind(values.float().expand(channels, -1, -1).clone())


def plane(label: Tensor) -> np.ndarray:
    """The last channel, which no operation negates."""
    return label.as_subclass(Tensor).reshape(-1, *label.shape[-2:])[-1].numpy()


OPERATIONS = {
    "horizontal_flip": (F.horizontal_flip, (), lambda a, fill: a[:, ::-1]),
    "resize": (F.resize, ([14, 20],), lambda a, fill: a.repeat(2, 0).repeat(2, 1)),
    "crop": (F.crop, (2, 3, 4, 5), lambda a, fill: a[2:6, 3:8]),
    "crop_outside": (
        F.crop,
        (-1, 0, 4, 12),
        lambda a, fill: np.pad(a[:3], ((1, 0), (0, 2)), constant_values=fill),
    ),
    "pad": (F.pad, ([1, 2, 3, 4],), lambda a, fill: np.pad(a, ((2, 4), (1, 3)), constant_values=fill)),
    "pad_short": (F.pad, ([1],), lambda a, fill: np.pad(a, 1, constant_values=fill)),
    "pad_pair": (F.pad, ([1, 2],), lambda a, fill: np.pad(a, ((2, 2), (1, 1)), constant_values=fill)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", LABELS)
def test_operation_moves_label(kind: type[Tensor], name: str) -> None:
    operation, arguments, reference = OPERATIONS[name]
    moved = operation(ramp(kind), *arguments)
    assert type(moved) is kind
    expected = reference(plane(ramp(kind)), FILL[kind])
    closer = {Depth: 0.5, Disparity: 2.0}.get(kind, 1.0) if name == "resize" else 1.0
    np.testing.assert_allclose(plane(moved), expected * closer)


def test_flip_of_coded_normals_is_that_of_their_values() -> None:
    coded = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    coded[:, 0, 0] = 0
    coded[:, 1, 1] = torch.tensor([255, 0, 0])  # its mirror would be the code of "no label"
    flipped = unit_normals(F.horizontal_flip(Normals(coded)).as_subclass(Tensor))
    expected = unit_normals(coded).flip(-1) * torch.tensor([-1.0, 1, 1])[:, None, None]
    torch.testing.assert_close(flipped, expected)
    assert not flipped[:, 0, -1].any()


def test_flip_negates_x_of_normals() -> None:
    flipped = F.horizontal_flip(ramp(Normals))
    assert torch.equal(flipped[0], -flipped[1])
    assert torch.equal(flipped[1], flipped[2])


def test_kernels_leave_their_argument_alone() -> None:
    for kind in LABELS:
        label = ramp(kind)
        for operation, arguments, _ in OPERATIONS.values():
            operation(label, *arguments)
        assert torch.equal(label, ramp(kind))


def test_flip_twice_is_identity() -> None:
    sample = {"id": "x", "image": tv_tensors.Image(torch.randint(256, (3, HEIGHT, WIDTH), dtype=torch.uint8))}
    sample |= {kind.__name__: ramp(kind) for kind in LABELS}
    again = flip(flip(sample))
    assert again["id"] == "x"
    for name in set(sample) - {"id"}:
        assert torch.equal(again[name], sample[name])
        assert type(again[name]) is type(sample[name])


def test_pad_is_centred() -> None:
    """A 45x60 image in 64x64 has 9 rows and 2 columns before it."""
    sample = {
        "image": tv_tensors.Image(torch.zeros(3, 45, 60, dtype=torch.uint8)),
        "semseg": ClassMap(torch.zeros(45, 60, dtype=torch.uint8)),
        "depth": Depth(torch.ones(1, 45, 60)),
        "normals": Normals(torch.ones(3, 45, 60)),
    }
    padded = pad(sample, (64, 64))
    assert padded["image"][:, 0, 0].tolist() == list(IMAGE_FILL)
    for name, inside, outside in (("semseg", 0, 255), ("depth", 1, 0), ("normals", 1, 0), ("image", 0, 124)):
        values = plane(padded[name]) if name != "image" else padded[name][0].numpy()
        assert values.shape == (64, 64)
        assert (values[9:54, 2:62] == inside).all()
        assert (values == outside).sum() == 64 * 64 - 45 * 60


def test_pad_leaves_larger_images() -> None:
    sample = {"image": tv_tensors.Image(torch.zeros(3, 45, 60, dtype=torch.uint8))}
    assert pad(sample, (40, 64))["image"].shape == (3, 45, 64)
    assert pad(sample, (45, 60)) is sample


@pytest.mark.parametrize("new", [(5, 9), (23, 31), (14, 60), (7, 10)])
def test_nearest_rule(new: tuple[int, int]) -> None:
    label = torch.arange(70).reshape(7, 10)
    expected = [
        [label[y * 7 // new[0], x * 10 // new[1]].item() for x in range(new[1])] for y in range(new[0])
    ]
    assert resize_nearest(label, new).tolist() == expected


@pytest.mark.parametrize("old", [85, 375, 425, 560])
def test_nearest_is_opencvs(old: int) -> None:
    """Also where floating point falls short of a whole number."""
    line = np.arange(old, dtype=np.float32)[None]
    for new in range(old // 2, 2 * old):
        expected = cv2.resize(line, (new, 1), interpolation=cv2.INTER_NEAREST)[0]
        np.testing.assert_array_equal(nearest(0, new, new, old), expected)
    np.testing.assert_array_equal(nearest(3, 5, 2 * old, old), nearest(0, 2 * old, 2 * old, old)[3:8])


def test_other_padding_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="constant"):
        F.pad(ramp(Depth), [1], padding_mode="reflect")

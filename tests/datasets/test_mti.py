"""The training transforms of the MTI and MTAN families against plain references."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from mtlbench.datasets import chance, crop_zoom
from mtlbench.datasets import mti as module
from mtlbench.datasets.affine import Affine
from mtlbench.datasets.pascal_context import PASCALContext
from mtlbench.datasets.rendering import Rendered
from mtlbench.datasets.transforms import TRANSFORMS
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors

from mtlbench.labels import ClassMap, Depth, Disparity, Normals, unit_normals

CLASS_MAPS = ("semseg", "human_parts", "sal", "edge")


@pytest.fixture
def sample(rooms: list[Rendered]) -> dict[str, Any]:
    room = next(room for room in rooms if (room.human_parts != 255).any())
    tensors = {name: ClassMap(torch.from_numpy(getattr(room, name))) for name in CLASS_MAPS}
    return {
        "id": "0",
        "image": tv_tensors.Image(torch.from_numpy(room.image)),
        **tensors,
        "depth": Depth(torch.from_numpy(room.depth)[None]),
        "disparity": Disparity(1 / torch.from_numpy(room.depth)[None]),
        "normals": Normals(torch.from_numpy(room.normals)),
    }


def plain(label: Tensor) -> np.ndarray:
    return label.as_subclass(Tensor).numpy()


def mirrored(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    """Flipped by hand."""
    flipped = {name: plain(value)[..., ::-1].copy() for name, value in sample.items() if name != "id"}
    flipped["normals"][0] *= -1
    return flipped


def drawn(seed: int, draw: Any) -> tuple[bool, float, float]:
    """What the transform will draw after `seed`: flip, angle, zoom."""
    torch.manual_seed(seed)
    return chance.coin(), *draw()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["indoor", "outdoor"])
def test_mti_against_plain_reference(sample: dict[str, Any], kind: str, seed: int) -> None:
    size = (56, 72)
    transform = (TRANSFORMS if kind == "indoor" else PASCALContext.transforms)["mti"](size)
    flip, angle, zoom = drawn(seed, getattr(module, kind))
    torch.manual_seed(seed)
    changed = transform(sample)
    maps = mirrored(sample) if flip else {n: plain(v) for n, v in sample.items() if n != "id"}
    step = Affine(angle=angle, scale=zoom, size=size)
    for name in CLASS_MAPS:
        np.testing.assert_array_equal(plain(changed[name]), step.nearest(maps[name][None])[0])
    for name, factor in (("depth", 1 / zoom), ("disparity", zoom)):
        np.testing.assert_allclose(plain(changed[name]), step.nearest(maps[name]) * factor, rtol=1e-6)
    image = step.cubic(maps["image"])
    assert np.abs(plain(changed["image"]).astype(float) + 0.5 - image.clip(0.5, 255.5)).max() <= 0.502
    x, y, z = step.cubic(np.ascontiguousarray(maps["normals"]))
    turn = math.radians(angle)
    phase, radius = np.arctan2(x, y), np.hypot(x, y)  # as published
    turned = np.stack([np.sin(phase + turn) * radius, np.cos(phase + turn) * radius, z])
    length = np.linalg.norm(turned, axis=0)
    np.testing.assert_allclose(
        plain(changed["normals"]), np.where(length > 1e-6, turned / length.clip(1e-6), 0), atol=1e-5
    )


def test_draws_of_mti() -> None:
    torch.manual_seed(0)
    assert {module.indoor() for _ in range(60)} == {(0.0, 1.0), (0.0, 1.2), (0.0, 1.5)}
    angles, zooms = zip(*(module.outdoor() for _ in range(500)), strict=True)
    assert -20 <= min(angles) < -18 < 18 < max(angles) <= 20
    assert 0.75 <= min(zooms) < 0.77 < 1.23 < max(zooms) <= 1.25


def test_mti_of_coded_normals_is_that_of_their_values(sample: dict[str, Any]) -> None:
    code = torch.round((sample["normals"].as_subclass(Tensor) + 1) * 127.5).to(torch.uint8)
    code[:, 10:20, 10:20] = 0  # no label
    results = []
    for normals in (Normals(code), Normals(unit_normals(code))):
        torch.manual_seed(1)
        results.append(PASCALContext.transforms["mti"]((48, 64))({**sample, "normals": normals})["normals"])
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=0)
    assert (results[0] == 0).all(0).sum() > 50


def test_border_of_mti_counts_as_background(sample: dict[str, Any]) -> None:
    """As published: black, class 0, no depth and no normals."""
    changed = module.warp(sample, Affine(angle=0, scale=0.75, size=(48, 64)))
    for name in ("image", "semseg", "sal", "edge", "depth", "normals"):
        assert not changed[name][..., :4, :].any(), name
    assert (sample["semseg"][:4] != 0).any()


def test_cubic_overshoot_is_clipped() -> None:
    stripes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    stripes[:, :, ::8] = stripes[:, :, 1::8] = stripes[:, :, 2::8] = 255
    sample = {"id": "0", "image": tv_tensors.Image(stripes)}
    step = Affine(angle=0, scale=1.2, size=(48, 48))
    exact = step.cubic(stripes.numpy())
    assert exact.max() > 256
    assert exact.min() < -1
    image = plain(module.warp(sample, step)["image"])
    assert (image[exact > 255] == 255).all()
    assert (image[exact < 0] == 0).all()


def test_whole_numbers_stay() -> None:
    for grey in (0, 1, 100, 254, 255):
        image = tv_tensors.Image(torch.full((3, 40, 52), grey, dtype=torch.uint8))
        step = Affine(angle=0, scale=1.5, size=(64, 64))
        assert (plain(module.warp({"image": image}, step)["image"]) == grey).all()


def test_parts_without_a_person_are_ignored(sample: dict[str, Any]) -> None:
    nobody = {**sample, "human_parts": ClassMap(torch.zeros(48, 64, dtype=torch.uint8))}
    assert (TRANSFORMS["mti"]((48, 64))(nobody)["human_parts"] == 255).all()


@pytest.mark.parametrize("seed", range(8))
def test_mtan_against_plain_reference(sample: dict[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    zoom = (1.0, 1.2, 1.5)[chance.integer(0, 2)]
    h, w = int(48 / zoom), int(64 / zoom)
    i, j = chance.integer(0, 48 - h), chance.integer(0, 64 - w)
    flip = chance.coin()
    torch.manual_seed(seed)
    changed = TRANSFORMS["mtan"]((48, 64))(sample)

    def stretched(name: str, **how: Any) -> Tensor:
        part = sample[name].as_subclass(Tensor).float()[..., i : i + h, j : j + w]
        whole = F.interpolate(part.reshape(1, -1, h, w), (48, 64), **how)[0]
        return (whole.flip(-1) if flip else whole).reshape(*part.shape[:-2], 48, 64)

    for name in CLASS_MAPS:
        assert torch.equal(changed[name].float().as_subclass(Tensor), stretched(name, mode="nearest"))
    for name, factor in (("depth", 1 / zoom), ("disparity", zoom)):
        torch.testing.assert_close(
            changed[name].as_subclass(Tensor), stretched(name, mode="nearest") * factor
        )
    image = stretched("image", mode="bilinear", align_corners=True)
    assert (changed["image"].as_subclass(Tensor).float() - image).abs().max() <= 0.501
    normals = F.normalize(stretched("normals", mode="bilinear", align_corners=True), dim=0)
    normals[0] *= -1 if flip else 1
    torch.testing.assert_close(changed["normals"].as_subclass(Tensor), normals)


def test_mtan_draws_every_zoom(sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = crop_zoom.stretch

    def noted(sample: dict[str, Any], window: Any, zoom: float) -> dict[str, Any]:
        seen.append((zoom, window[2:]))
        return original(sample, window, zoom)

    monkeypatch.setattr(crop_zoom, "stretch", noted)
    torch.manual_seed(0)
    for _ in range(40):
        crop_zoom.mtan((48, 64))(sample)
    assert set(seen) == {(1.0, (48, 64)), (1.2, (40, 53)), (1.5, (32, 42))}


def test_invpt_is_atrc() -> None:
    assert TRANSFORMS["invpt"] is TRANSFORMS["atrc"]

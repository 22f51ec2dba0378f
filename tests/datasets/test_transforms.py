"""The named training transforms and evaluation padding."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from mtlbench.datasets import transforms
from mtlbench.datasets.geometry import nearest, resize_nearest
from mtlbench.datasets.photometric import Distortion
from mtlbench.datasets.rendering import Rendered
from mtlbench.datasets.transforms import TRANSFORMS, choose_window, ignore_absent_people, is_varied, pad_to
from mtlbench.datasets.warp import Warp
from torchvision import tv_tensors

from mtlbench.labels import ClassMap, Depth, Normals


@pytest.fixture
def sample(rooms: list[Rendered]) -> dict[str, Any]:
    room = rooms[0]
    tensors = {
        name: torch.from_numpy(getattr(room, name)) for name in ("semseg", "human_parts", "sal", "edge")
    }
    return {
        "id": "0",
        "image": tv_tensors.Image(torch.from_numpy(room.image)),
        **{name: ClassMap(values) for name, values in tensors.items()},
        "depth": Depth(torch.from_numpy(room.depth)[None]),
        "normals": Normals(torch.from_numpy(room.normals)),
    }


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_keeps_types_and_makes_the_size(sample: dict[str, Any], name: str) -> None:
    transform = TRANSFORMS[name]((50, 70))
    before = {key: value.clone() for key, value in sample.items() if key != "id"}
    for seed in range(10):
        torch.manual_seed(seed)
        changed = transform(sample)
        assert set(changed) == set(sample)
        for key, value in before.items():
            assert type(changed[key]) is type(value)
            assert changed[key].shape == (*value.shape[:-2], 50, 70)
            assert changed[key].dtype == value.dtype
            assert torch.equal(sample[key], value)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_samples_stay_as_they_are(sample: dict[str, Any], name: str) -> None:
    """Also where nothing has to be resized: decoded samples are mapped, and read again."""
    transform = TRANSFORMS[name](tuple(sample["image"].shape[-2:]))
    before = {key: value.clone() for key, value in sample.items() if key != "id"}
    for seed in range(40):
        torch.manual_seed(seed)
        transform(sample)
        assert all(torch.equal(sample[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_only_torch_decides(sample: dict[str, Any], name: str) -> None:
    transform = TRANSFORMS[name]((32, 40))
    results = []
    for run in range(2):
        torch.manual_seed(3)
        random.seed(run)
        np.random.seed(run)
        results.append(transform(sample))
    for key in set(sample) - {"id"}:
        assert torch.equal(results[0][key], results[1][key])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("zoom", [0.5, 0.77, 1.0, 1.31, 2.0])
def test_zoom_against_plain_reference(sample: dict[str, Any], zoom: float, mirrored: bool) -> None:
    """With a window as large as the zoomed map, labels are exact and nothing is cut."""
    height, width = int(48 * zoom), int(64 * zoom)
    whole = (0, 0, height, width)
    warp = Warp(zoom=zoom, scaled=(height, width), window=whole, mirrored=mirrored, size=(height, width))
    zoomed = warp(sample)
    rows, columns = nearest(0, height, height, 48), nearest(0, width, width, 64)
    step = -1 if mirrored else 1
    for name in ("semseg", "human_parts", "sal", "edge", "depth", "normals"):
        expected = sample[name].numpy()[..., rows, :][..., columns][..., ::step].copy()
        if name == "normals":
            expected[0] *= step
        if name == "depth":
            expected /= np.float32(zoom)
        np.testing.assert_allclose(zoomed[name].numpy(), expected, rtol=1e-6)
    assert zoomed["image"].shape == (3, height, width)


def test_atrc_keeps_image_and_labels_together(
    sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class map painted into the image comes out where the label does (up to bilinear borders)."""
    monkeypatch.setattr(transforms.Distortion, "draw", lambda: Distortion())
    painted = {**sample, "image": tv_tensors.Image(sample["sal"][None].expand(3, -1, -1) * 200)}
    for seed in range(8):
        torch.manual_seed(seed)
        changed = TRANSFORMS["atrc"]((40, 40))(painted)
        valid = changed["sal"] != 255
        agree = ((changed["image"][0] > 100) == (changed["sal"] == 1))[valid]
        assert agree.float().mean() > 0.93


def test_labels_are_never_invented(sample: dict[str, Any]) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        changed = TRANSFORMS["atrc"]((60, 80))(sample)
        assert set(changed["semseg"].unique().tolist()) <= {*sample["semseg"].unique().tolist(), 255}
        invalid = changed["semseg"] == 255
        assert torch.equal(changed["depth"][0] == 0, invalid)
        assert torch.equal(changed["normals"].abs().sum(0) == 0, invalid)


def test_depth_is_divided_by_the_zoom(sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sample["depth"] = Depth(torch.full_like(sample["depth"], 3.0))
    monkeypatch.setattr(
        transforms.chance, "uniform", lambda low, high: 2.0 if (low, high) == (0.5, 2.0) else low
    )
    assert TRANSFORMS["atrc"]((48, 64))(sample)["depth"].unique().tolist() == [1.5]


def test_is_varied() -> None:
    def counts(*labels: int) -> np.ndarray:
        return np.bincount(labels, minlength=256)

    assert is_varied(counts(0, 0, 1, 255))  # 2 of 3 labelled pixels
    assert not is_varied(counts(0, 0, 0, 1))  # exactly 0.75
    assert not is_varied(counts(0, 255))
    assert not is_varied(counts(255, 255))


@pytest.mark.parametrize("scaled", [(30, 40), (47, 70), (20, 23)])
def test_histogram_is_that_of_the_zoomed_window(scaled: tuple[int, int]) -> None:
    classes = torch.randint(0, 9, (30, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    window = (3, 5, 12, 17)
    zoomed = resize_nearest(classes, scaled)[3:15, 5:22]
    found = transforms._histogram(classes.numpy(), scaled, window)
    np.testing.assert_array_equal(found, np.bincount(zoomed.flatten(), minlength=256))


def test_crop_is_balanced() -> None:
    """The right half has two classes, the left one: accepted crops lie on the right."""
    classes = torch.zeros(20, 40, dtype=torch.uint8)
    classes[::2, 20:] = 1
    torch.manual_seed(0)
    shares = []
    for _ in range(100):
        top, left, height, width = choose_window(classes, (20, 40), (10, 10))
        shares.append(classes[top : top + height, left : left + width].float().mean().item())
    assert np.mean([share > 0.25 for share in shares]) > 0.97


def test_crop_gives_up_after_ten_redraws(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = []
    original = transforms._draw_window

    def counted(scaled: tuple[int, int], size: tuple[int, int]) -> transforms.Window:
        draws.append(original(scaled, size))
        return draws[-1]

    monkeypatch.setattr(transforms, "_draw_window", counted)
    chosen = choose_window(torch.zeros(20, 20, dtype=torch.uint8), (20, 20), (5, 5))
    assert len(draws) == 11
    assert chosen == draws[-1]
    draws.clear()
    choose_window(None, (20, 20), (5, 5))
    assert len(draws) == 1


def test_windows_reach_every_border() -> None:
    torch.manual_seed(0)
    windows = [choose_window(None, (7, 30), (5, 40)) for _ in range(100)]
    assert {window[0] for window in windows} == {0, 1, 2}
    assert {window[1:] for window in windows} == {(0, 5, 30)}


def test_absent_people_are_ignored() -> None:
    nobody = ClassMap(torch.tensor([[0, 255], [0, 0]], dtype=torch.uint8))
    someone = ClassMap(torch.tensor([[0, 255], [0, 3]], dtype=torch.uint8))
    ignored = ignore_absent_people({"human_parts": nobody})["human_parts"]
    assert isinstance(ignored, ClassMap)
    assert (ignored == 255).all()
    assert torch.equal(ignore_absent_people({"human_parts": someone})["human_parts"], someone)
    assert ignore_absent_people({}) == {}


def test_evaluation_only_pads(sample: dict[str, Any]) -> None:
    padded = pad_to(sample, (64, 64))
    assert torch.equal(padded["image"][:, 8:56], sample["image"])
    assert torch.equal(padded["depth"][:, 8:56], sample["depth"])
    assert (padded["semseg"][:8] == 255).all()

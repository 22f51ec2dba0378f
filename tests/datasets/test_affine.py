"""Rotation, zoom and resize against OpenCV's own results, and against plain NumPy."""

import math
from pathlib import Path

import numpy as np
import pytest
from mtlbench.datasets import affine
from mtlbench.datasets.affine import Affine, source_matrix
from mtlbench.datasets.pascal_maps import laplacian

GOLDEN = Path(__file__).parents[1] / "golden" / "datasets" / "opencv.npz"
DRAWS = [(0.0, 1.0), (0.0, 1.5), (7.0, 1.0), (-20.0, 0.75), (15.3, 1.25)]


@pytest.fixture(scope="module")
def opencv() -> dict[str, np.ndarray]:
    """What `cv2.warpAffine`, then `cv2.resize` (4.10, cubic and nearest) made of a small image and label."""
    with np.load(GOLDEN) as content:
        return dict(content)


def test_equals_opencv(opencv: dict[str, np.ndarray]) -> None:
    size = opencv["labels"].shape[1:]
    for index, (angle, scale) in enumerate(opencv["draws"]):
        step = Affine(angle=angle, scale=scale, size=size)
        np.testing.assert_array_equal(step.nearest(opencv["label"][None])[0], opencv["labels"][index])
        np.testing.assert_allclose(step.cubic(opencv["image"]), opencv["images"][index], atol=1e-3)


def test_laplacian_equals_opencv(opencv: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(laplacian(opencv["label"]), opencv["laplacian"])


def sources(size: tuple[int, int], angle: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y (H, W): turned back and shrunk about the middle."""
    y, x = np.indices(size, dtype=float)
    x, y = x - size[1] / 2, y - size[0] / 2
    a = math.radians(angle)
    return (
        (math.cos(a) * x - math.sin(a) * y) / scale + size[1] / 2,
        (math.sin(a) * x + math.cos(a) * y) / scale + size[0] / 2,
    )


@pytest.mark.parametrize(("angle", "scale"), DRAWS)
def test_matrix(angle: float, scale: float) -> None:
    y, x = np.indices((9, 14), dtype=float)
    found = np.einsum("ij,jhw->ihw", source_matrix((9, 14), angle, scale), np.stack([x, y, np.ones_like(x)]))
    np.testing.assert_allclose(found, sources((9, 14), angle, scale), atol=1e-12)


@pytest.mark.parametrize(("angle", "scale"), DRAWS)
def test_nearest_against_plain_reference(angle: float, scale: float) -> None:
    planes = np.random.default_rng(0).integers(1, 255, (2, 21, 30)).astype(np.float32)
    x, y = (np.floor(v + 0.5 + 1e-9).astype(int) for v in sources((21, 30), angle, scale))
    inside = (x >= 0) & (x < 30) & (y >= 0) & (y < 21)
    turned = np.where(inside, planes[:, y.clip(0, 20), x.clip(0, 29)], 0)
    rows, columns = np.arange(32) * 21 // 32, np.arange(24) * 30 // 24
    found = Affine(angle=angle, scale=scale, size=(32, 24)).nearest(planes)
    assert found.dtype == planes.dtype
    assert (found != turned[:, rows][:, :, columns]).mean() < 0.01  # 1/1024 of a pixel may decide


def cubic(t: np.ndarray) -> np.ndarray:
    """Keys' kernel with parameter -0.75 at a distance t."""
    t, a = np.abs(t), -0.75
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


@pytest.mark.parametrize(("angle", "scale"), DRAWS)
def test_cubic_against_plain_reference(angle: float, scale: float) -> None:
    rows, columns = np.indices((21, 30))
    plane = (100 + 80 * np.sin(rows / 4) * np.cos(columns / 5)).astype(np.uint8)
    x, y = sources((21, 30), angle, scale)
    expected = np.zeros((21, 30))
    for row in range(21):
        for column in range(30):
            expected += cubic(y - row) * cubic(x - column) * plane[row, column]
    found = Affine(angle=angle, scale=scale, size=(21, 30)).cubic(plane[None])[0]
    assert np.abs(found - expected).max() < 6  # positions are rounded to 1/32 of a pixel
    assert np.abs(found - expected).mean() < 0.7


def test_nothing_to_do_changes_nothing() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 9, 11)).astype(np.uint8)
    same = Affine(angle=0, scale=1, size=(9, 11))
    np.testing.assert_array_equal(same.nearest(planes), planes)
    np.testing.assert_array_equal(same.cubic(planes), planes)


def test_both_ways_to_zoom_agree() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (1, 15, 22)).astype(np.uint8)
    turned = np.empty(planes.shape, np.float32)
    affine._warp(planes, source_matrix((15, 22), 0, 1.3), affine._phases(), turned)
    np.testing.assert_allclose(Affine(angle=0, scale=1.3, size=(15, 22)).cubic(planes), turned, atol=1e-3)


def test_far_outside_is_zero() -> None:
    planes = np.full((1, 20, 20), 7, np.uint8)
    shrunk = Affine(angle=0, scale=0.5, size=(20, 20))
    assert shrunk.nearest(planes)[0, 0].max() == 0
    assert shrunk.nearest(planes)[0, 10].tolist() == [0] * 5 + [7] * 10 + [0] * 5
    assert abs(shrunk.cubic(planes)[0, :4]).max() == 0

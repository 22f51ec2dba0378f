"""Our training samples against those of the published pipeline, for the same random draws."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mtlbench.datasets.layouts import write_nyud
from mtlbench.datasets.nyud import NYUD
from mtlbench.datasets.warp import Warp
from published_pipeline import MEAN, STD, PublishedPipeline

from mtlbench.backbones.base import normalise
from mtlbench.data import collate, unpack

TASKS = ("semseg", "depth", "normals", "edge")
DRAWS = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "NYUDv2"
    write_nyud(folder, train=4, val=1, size=(85, 112))
    return folder


@pytest.mark.parametrize("size", ["85x112", "96x128"], ids=["native", "padded"])
def test_samples_equal_the_published_ones(root: Path, size: str) -> None:
    """Labels exactly; the image within a grey level, which a later contrast may stretch.

    OpenCV's way back from HSV truncates most pixels and rounds the last ones of a row.
    """
    data = NYUD("train", TASKS, root=str(root), size=size)
    transform, published = NYUD.transforms["atrc"](data.size), PublishedPipeline(root, data.size)
    off = []
    for draw in range(DRAWS):
        index = draw % len(data)
        torch.manual_seed(draw)
        batch = collate([transform(data[index])], NYUD.tasks)
        torch.manual_seed(draw)
        expected = published(data.ids[index])
        labels = unpack(batch, NYUD.tasks)
        assert torch.equal(labels["semseg"][0], expected["semseg"][0].to(torch.uint8))
        assert torch.equal(labels["edge"][0], expected["edge"][0].to(torch.uint8))
        depth = torch.where(labels["depth"][0] == 0, 255, labels["depth"][0])
        torch.testing.assert_close(depth, expected["depth"], rtol=1e-6, atol=0)
        invalid = (labels["normals"][0] == 0).all(0)
        assert torch.equal(invalid, expected["normals"][0] == 255)
        normals = torch.nn.functional.normalize(expected["normals"], dim=0) * ~invalid
        torch.testing.assert_close(labels["normals"][0], normals, rtol=0, atol=1e-5)
        off.append(_grey_levels(normalise(batch["image"], tuple(MEAN), tuple(STD))[0], expected["image"]))
    differences = np.concatenate(off)
    assert (differences > 1.01).mean() < 0.01
    assert differences.max() < 6


@pytest.mark.parametrize("zoom", [0.5, 0.73, 1.0, 1.37, 2.0])
def test_zoomed_image_is_opencvs(zoom: float) -> None:
    image = torch.randint(0, 256, (3, 45, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    height, width = int(45 * zoom), int(60 * zoom)
    warp = Warp(zoom=zoom, scaled=(height, width), window=(3, 5, 15, 20), mirrored=True, size=(15, 24))
    expected = cv2.resize(image.permute(1, 2, 0).numpy().astype(np.float32), (width, height))
    window = expected[3:18, 5:25][:, ::-1].astype(np.uint8).transpose(2, 0, 1).astype(int)
    found = warp.image(image).numpy()
    assert np.abs(found[:, :, 2:22] - window).max() <= 1
    assert (found[:, :, 2:22] != window).mean() < 0.01
    assert (found[:, :, :2] == np.array([124, 116, 104])[:, None, None]).all()


def _grey_levels(image: torch.Tensor, expected: torch.Tensor) -> np.ndarray:
    """Differences in units of the uint8 image, (3 H W,)."""
    return ((image - expected).abs() * torch.tensor(STD)[:, None, None] * 255).numpy().ravel()

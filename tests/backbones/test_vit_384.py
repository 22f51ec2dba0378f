"""Plain ViTs in timm's layout: timm's own maps, weights of any image size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.vit_timm import TimmViT, squarest_grid
from mtlbench.backbones.weights import load_file_weights

TAPS = (0, 1, 2, 4)


def small(side: int | tuple[int, int], seed: int = 0) -> Any:
    """Timm's network with five blocks of width 24, no parameter at its initial value."""
    torch.manual_seed(seed)
    trunk = VisionTransformer(img_size=side, embed_dim=24, depth=5, num_heads=3, num_classes=0)
    for parameter in trunk.parameters():
        nn.init.normal_(parameter, std=0.2)
    return trunk.eval()


def maps_of_timm(trunk: Any, images: Tensor) -> list[Tensor]:
    """After the first three blocks as they are, after the last one normed."""
    rows, columns = (side // 16 for side in images.shape[-2:])
    raw = trunk.forward_intermediates(images, indices=list(TAPS), intermediates_only=True, norm=False)
    last = trunk.forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
    return [*raw[:3], last]


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_maps_are_timms(size: tuple[int, int]) -> None:
    trunk, images = small(size), torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = maps_of_timm(trunk, images)
        torch.testing.assert_close(TimmViT(trunk, TAPS).eval()(images), expected, atol=1e-5, rtol=1e-5)


def test_images_of_another_size_get_resized_positions() -> None:
    source, images = small(64), torch.randn(1, 3, 48, 96)
    other = small((48, 96))
    state = source.state_dict()
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], (3, 6), (4, 4), antialias=False)
    other.load_state_dict(state)
    with torch.no_grad():
        expected = maps_of_timm(other, images)
        torch.testing.assert_close(TimmViT(source, TAPS).eval()(images), expected, atol=1e-5, rtol=1e-5)


def test_weights_of_another_size_keep_their_positions(tmp_path: Path) -> None:
    source, ours = small((64, 96)), TimmViT(small(64, seed=1), TAPS).eval()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "published.pth")
    load_file_weights(ours, str(tmp_path / "published.pth"))
    assert ours.grid == (4, 6)
    assert torch.equal(ours.pos_embed, source.pos_embed)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), maps_of_timm(source, images), atol=1e-5, rtol=1e-5)


def test_our_own_file_of_another_size(tmp_path: Path) -> None:
    source, ours = TimmViT(small((64, 96)), TAPS), TimmViT(small(64, seed=1), TAPS)
    torch.save(source.state_dict(), tmp_path / "ours.pth")
    load_file_weights(ours, str(tmp_path / "ours.pth"))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), source.parameters(), strict=True))


@pytest.mark.parametrize(
    ("count", "grid"), [(576, (24, 24)), (1008, (28, 36)), (96, (8, 12)), (8192, (64, 128)), (7, (1, 7))]
)
def test_squarest_grid(count: int, grid: tuple[int, int]) -> None:
    assert squarest_grid(count) == grid


@pytest.mark.parametrize(("name", "millions"), [("vit-b-384", 86.09), ("vit-l-384", 303.69)])
def test_the_registered_ones(name: str, millions: float) -> None:
    """As many parameters as timm's model has without its classifier; stochastic depth up to 0.15."""
    with torch.device("meta"):
        backbone = build_backbone(name)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
    assert backbone.strides == (16, 16, 16, 16)
    assert backbone.blocks[-1].drop_path1.drop_prob == pytest.approx(0.15)
    depth = len(backbone.blocks)
    assert backbone.taps == tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))

"""PSD: conformance, and each step against its equation."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.patterns import gather, patterns, transferred
from mtlbench.methods.psd import PSD
from torch import Tensor
from torch.nn import functional as F

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
IMAGE = (1, 3, 32, 48)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Any) -> None:
    check(PSD, channels=4, window=3)


def test_number_of_parameters() -> None:
    tasks = {t: replace(tiny_tasks()["depth"], name=t, channels=k) for t, k in NYUD.items()}
    with torch.device("meta"):
        found = parameters(PSD(build_backbone("hrnet18"), tasks))
    initial = sum(NYUD.values()) * 68  # of 67 channels, with bias
    assert found == 4_515_556 + initial + 4 * (3 * 67**2 + 2)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_pattern_is_a_softmax_over_the_window() -> None:
    q = drawn(2, 4, 5, 6)
    found = patterns(q, 3)
    assert found.shape == (2, 9, 5, 6)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 5, 6))
    window = q[1, :, 1:4, 2:5].flatten(1)  # around (2, 3)
    torch.testing.assert_close(found[1, :, 2, 3], (q[1, :, 2, 3] @ window / 2).softmax(0))
    corner = found[0, :, 0, 0].view(3, 3)
    assert corner[0].tolist() == [0, 0, 0]
    assert corner[:, 0].tolist() == [0, 0, 0]
    expected = (q[0, :, 0, 0] @ q[0, :, :2, :2].flatten(1) / 2).softmax(0)
    torch.testing.assert_close(corner[1:, 1:].flatten(), expected)


@pytest.mark.parametrize("window", [3, 5])
def test_features_are_gathered_from_the_window(window: int) -> None:
    x, pattern = drawn(2, 4, 5, 6), drawn(2, window**2, 5, 6)
    near = F.unfold(x, window, padding=window // 2).view(2, 4, window**2, 5, 6)
    torch.testing.assert_close(gather(pattern, x, window), (near * pattern[:, None]).sum(2))


def test_patterns_are_handed_over_by_how_well_they_match() -> None:
    a = torch.tensor([0.6, 0.4, 0.0]).view(1, 3, 1, 1)
    b = torch.tensor([0.4, 0.6, 0.0]).view(1, 3, 1, 1)
    c = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    found = transferred("a", {"a": a, "b": b, "c": c})
    torch.testing.assert_close(found, b)  # c has nothing in common with a


@torch.no_grad()
def test_what_is_added_is_what_the_equations_say() -> None:
    tasks = tiny_tasks()
    network = PSD(TinyBackbone(), tasks, channels=4, window=3, steps=3).eval()
    maps = network.backbone(drawn(*IMAGE))
    before = network.decode(maps, (8, 12))  # numbers at 0: nothing is added
    f = {t: network.initial[t](maps) for t in tasks}
    local = {t: patterns(network.query[t](x), 3) for t, x in f.items()}
    torch.testing.assert_close(before.final["edge"], network.final_logits["edge"](f["edge"]))
    network.within["edge"].scale.fill_(2.0)
    network.between["edge"].scale.fill_(-3.0)
    h = f["edge"]
    for _ in range(3):
        h = gather(local["edge"], h, 3)
    g = gather(transferred("edge", local), f["edge"], 3)
    added = 2 * network.within["edge"].conv(h) - 3 * network.between["edge"].conv(g)
    after = network.decode(maps, (8, 12)).final
    torch.testing.assert_close(after["edge"], network.final_logits["edge"](f["edge"] + added))
    assert torch.equal(after["depth"], before.final["depth"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 4}, "`window` of psd must be odd, at least 3, got 4"),
        ({"window": 1}, "at least 3, got 1"),
        ({"steps": 0}, "`steps` of psd must be a whole number >= 1, got 0"),
        ({"channels": 0}, "`channels` of psd must be a whole number >= 1, got 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        PSD(TinyBackbone(), tiny_tasks(), **options)

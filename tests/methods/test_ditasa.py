"""DITASA: conformance, deformable attention against its definition, what it never makes."""

from typing import Any

import pytest
import torch
from inter_task_maps import random_maps
from mtlbench.methods.ditasa import DITASA
from mtlbench.methods.layers.inter_task import DeformableAttention, FullAttention, WindowedAttention
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.watching import LargestTensor

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "points": 2}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(DITASA, SMALL, id="deformable"),
        pytest.param(DITASA, SMALL | {"attention": "full"}, id="full"),
        pytest.param(DITASA, SMALL | {"attention": "window", "depth": 2, "window": 3}, id="window"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


def read(values: Tensor, row: float, column: float) -> Tensor:
    """(H, W, C) between four pixels, zero outside."""
    found = torch.zeros(values.shape[-1])
    for i in (int(row // 1), int(row // 1) + 1):
        for j in (int(column // 1), int(column // 1) + 1):
            if 0 <= i < values.shape[0] and 0 <= j < values.shape[1]:
                found = found + values[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return found


@torch.no_grad()
def test_deformable_attention_is_what_its_definition_says() -> None:
    """One query of one task, head by head, point by point."""
    torch.manual_seed(0)
    tasks, dim, heads, points = ("depth", "edge"), 8, 2, 3
    attention = DeformableAttention(tasks, dim, heads, points=points)
    for parameter in attention.parameters():
        parameter.normal_(std=0.5)
    maps, places = random_maps(tasks, (4, 5), dim), random_maps(tasks, (4, 5), dim, seed=1)
    row, column = 2, 1
    z = places["edge"][0, row, column]
    shares = (
        torch.stack([attention.weights[s](z).view(heads, points) for s in tasks], 1).flatten(1).softmax(1)
    )
    expected = torch.zeros(heads, dim // heads)
    for i, source in enumerate(tasks):
        offsets = attention.offsets[source](z).view(heads, points, 2)
        values = attention.value(maps[source][0]).unflatten(-1, (heads, -1))
        for m in range(heads):
            for k in range(points):
                x, y = offsets[m, k].tolist()
                share = shares[m, i * points + k]
                expected[m] += share * read(values[:, :, m], row + y, column + x)
    found = attention(maps, places)["edge"][0, row, column]
    torch.testing.assert_close(found, attention.proj(expected.flatten()))


@torch.no_grad()
def test_windows_that_cover_the_map_see_all() -> None:
    torch.manual_seed(0)
    maps = random_maps(("depth", "edge"), (6, 6), 8)
    full, window = FullAttention(maps, 8, 2), WindowedAttention(maps, 8, 2, window=6)
    window.load_state_dict(full.state_dict() | {"bias.table": torch.zeros_like(window.bias.table)})
    found, expected = window(maps, maps), full(maps, maps)
    for task in maps:
        torch.testing.assert_close(found[task], expected[task])


@pytest.mark.parametrize("attention", ["deformable", "window"])
def test_no_tensor_of_all_pairs_of_tokens(attention: Any) -> None:
    network = DITASA(TinyBackbone(), tiny_tasks(), attention=attention, window=4, **SMALL)
    tokens = 4 * 32 * 32
    with LargestTensor() as largest:
        network(torch.randn(1, 3, 256, 256))
    assert 0 < largest.elements < tokens**2 / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "ful"}, "did you mean `full`"),
        ({"dim": 10}, "multiple of `heads`"),
        ({"points": 0}, "`points`"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        DITASA(TinyBackbone(), tiny_tasks(), **({"heads": 4} | options))

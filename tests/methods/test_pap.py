"""PAP: conformance, variants, what is propagated, numbers of parameters."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.affinity import ColumnPropagation, SampledPropagation
from mtlbench.methods.pap import PAP
from torch import Tensor

from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL = {"channels": 8}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
BETA = 0.3


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", ["corrected", "ema", "table1"])
def test_conformance(variant: str, check: Any) -> None:
    check(PAP, variant=variant, **SMALL)


@pytest.mark.parametrize(("variant", "expected"), [("table1", 4_536_588), ("ema", 5_071_048)])
def test_number_of_parameters(variant: Any, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(PAP(build_backbone("hrnet18"), tasks_with(NYUD), variant=variant)) == expected


def test_table1_costs_what_the_table_says() -> None:
    with torch.device("meta"):
        network = PAP(build_backbone("hrnet18"), tasks_with(NYUD), variant="table1")
        assert count_module_macs(network, (425, 560)) / 1e9 == pytest.approx(53.04, rel=1e-3)


def drawn(propagation: Any) -> tuple[Any, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for weight in propagation.weights.values():
        weight.data = torch.randn(weight.shape, generator=generator)
    maps = {t: torch.randn(2, 3, 5, 7, generator=generator).double() for t in propagation.tasks}
    return propagation, maps


def spread(matrices: list[Tensor], weight: Tensor, start: Tensor, columns: Tensor, steps: int) -> Tensor:
    """The recursion with whole matrices (B, n, m); h (B, n, C) is needed at all rows."""
    mixed = sum(a * m for a, m in zip(weight.softmax(0), matrices, strict=True))
    h = start
    for _ in range(steps):
        h = BETA * (mixed @ h[:, columns]) + (1 - BETA) * start
    return h


@pytest.mark.parametrize("steps", [1, 2, 3])
@torch.no_grad()
def test_features_spread_from_sampled_positions(steps: int) -> None:
    # names in no alphabetic order
    propagation, maps = drawn(SampledPropagation(["z", "a", "m"], steps=steps, beta=BETA, stride=2))
    propagation.double()
    tokens = {t: x.flatten(2).mT for t, x in maps.items()}
    columns = torch.arange(35).view(5, 7)[::2, ::2].flatten()
    matrices = [(x @ x[:, columns].mT / 3**0.5).softmax(-1) for x in tokens.values()]
    for task, found in propagation(maps).items():
        expected = spread(matrices, propagation.weights[task], tokens[task], columns, steps)
        torch.testing.assert_close(found.flatten(2).mT, expected)


@torch.no_grad()
def test_features_spread_by_matrices_whose_columns_sum_to_one() -> None:
    propagation, maps = drawn(ColumnPropagation(["z", "a"], steps=2, beta=BETA))
    tokens = {t: (x + 1).flatten(2).mT for t, x in maps.items()}
    normed = [x / x.square().sum(1, keepdim=True).sqrt() for x in tokens.values()]
    matrices = [(x @ x.mT) / (x @ x.mT).sum(1, keepdim=True) for x in normed]
    assert all(torch.allclose(m.sum(1), torch.ones(35).double()) for m in matrices)
    for task, found in propagation({t: x + 1 for t, x in maps.items()}).items():
        expected = spread(matrices, propagation.weights[task].double(), tokens[task], torch.arange(35), 2)
        torch.testing.assert_close(found.flatten(2).mT.double(), expected, rtol=1e-4, atol=1e-4)


def test_positions_of_a_third_party_are_whole_quarters_of_the_image() -> None:
    """67x98 pixels have 16x24 positions there, whatever the size of the features."""
    network = PAP(TinyBackbone(), tiny_tasks(), variant="ema", **SMALL).eval()
    sizes: list[torch.Size] = []
    network.propagation.register_forward_hook(
        lambda module, given, found: sizes.append(given[0]["depth"].shape)
    )
    with torch.no_grad():
        network(torch.randn(1, 3, 67, 98))
    assert [tuple(size[-2:]) for size in sizes] == [(16, 24)]


def test_a_large_map_needs_no_matrix_of_all_positions() -> None:
    positions, stride = 96 * 96, 4
    propagation = SampledPropagation(["a"], steps=1, beta=BETA, stride=stride)
    x = torch.randn(1, 8, 96, 96, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        propagation({"a": x})["a"].sum().backward()
    assert max(kept) <= 8 * positions < positions * positions // stride**2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 12}, "`channels` of pap must be a multiple of 8, at least 8, got 12"),
        ({"channels": 0}, "`channels` of pap must be a multiple of 8, at least 8, got 0"),
        ({"variant": "table1", "channels": 0}, "at least 1, got 0"),
        ({"beta": 0.0}, r"`beta` of pap must be in \(0, 1\], got 0.0"),
        ({"steps": 0}, "`steps` of pap must be a whole number >= 1, got 0"),
        (
            {"variant": "ema", "key_stride": 2},
            "`key_stride` of pap must be 1 or null with `variant: ema`, got 2",
        ),
        ({"variant": "pap"}, "unknown `variant` of PAP `pap`"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        PAP(TinyBackbone(), tiny_tasks(), **options)

"""Counts of single modules, by hand, in both conventions."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from mtlbench.profiling import (
    attention_macs,
    conv_macs,
    count_macs,
    count_module_macs,
    count_network,
    linear_macs,
    norm_macs,
)

SIZE = (6, 8)
PIXELS = 6 * 8
TOKENS = 5


class Tokens(nn.Module):
    """The first `TOKENS` pixels as tokens of three channels go through a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        return self.module(images.flatten(2)[..., :TOKENS].mT)


COUNTS: dict[str, tuple[nn.Module, int, int]] = {
    "convolution": (nn.Conv2d(3, 4, 3, padding=1), PIXELS * 4 * 27, PIXELS * 4 * 28),
    "without bias": (nn.Conv2d(3, 4, 3, padding=1, bias=False), PIXELS * 4 * 27, PIXELS * 4 * 27),
    "strided": (nn.Conv2d(3, 4, 2, stride=2, bias=False), 12 * 4 * 12, 12 * 4 * 12),
    "groups": (nn.Conv2d(3, 6, 1, groups=3, bias=False), PIXELS * 6, PIXELS * 6),
    # each weight meets each input pixel once; counters of modules take the four times as many output pixels
    "transposed": (nn.ConvTranspose2d(3, 5, 2, stride=2, bias=False), PIXELS * 60, 4 * PIXELS * 60),
    "linear": (Tokens(nn.Linear(3, 7)), TOKENS * 21, TOKENS * 28),
    "linear without bias": (Tokens(nn.Linear(3, 7, bias=False)), TOKENS * 21, TOKENS * 21),
    "batch norm": (nn.BatchNorm2d(3), 0, 2 * 3 * PIXELS),
    "layer norm": (Tokens(nn.LayerNorm(3)), 0, 2 * 3 * TOKENS),
    "activation": (nn.GELU(), 0, 3 * PIXELS),
    "nested": (
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))),
        PIXELS * (6 + 2),
        PIXELS * (6 + 2 + 2 + 2),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counts_by_hand(name: str, device: str) -> None:
    module, macs, module_macs = COUNTS[name]
    network = copy.deepcopy(module).to(device)
    assert (count_macs(network, SIZE), count_module_macs(network, SIZE)) == (macs, module_macs)
    counts = count_network(network, SIZE)
    assert (counts.macs, counts.module_macs) == (macs, module_macs)
    assert network.training


class Functional(nn.Module):
    """Work that no hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))

    def forward(self, images: Tensor) -> Tensor:
        x = F.conv2d(images, self.weight[:, :, None, None])  # (1, 4, 6, 8)
        tokens = x.flatten(2)[..., :TOKENS].mT[:, None]  # (1, 1, 5, 4)
        x = F.relu(x) + F.scaled_dot_product_attention(tokens, tokens, tokens).sum()
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")


def test_functions_are_products_only() -> None:
    counts = count_network(Functional(), SIZE)
    assert counts.macs == PIXELS * 12 + 2 * TOKENS * TOKENS * 4
    assert counts.module_macs == 0
    assert counts.parameters == counts.trainable == 12


class Deformed(nn.Module):
    """A deformable convolution, and one whose sampling is `grid_sample`."""

    def __init__(self, *, operator: bool) -> None:
        super().__init__()
        self.operator = operator
        self.mix = nn.Conv2d(3, 2, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.operator:
            return deform_conv2d(images, images.new_zeros(1, 2, *SIZE), self.mix.weight)
        mixed: Tensor = self.mix(F.grid_sample(images, images.new_zeros(1, *SIZE, 2), align_corners=False))
        return mixed


@pytest.mark.parametrize("operator", [True, False])
def test_sampling_counts_as_nothing(operator: bool) -> None:
    assert count_macs(Deformed(operator=operator), SIZE) == PIXELS * 6


class SelfAttention(nn.Module):
    """Tokens (1, 5, 3) attend to themselves; the first axis is the batch, or the sequence."""

    def __init__(self, *, batch_first: bool, named: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=batch_first)
        self.named = named

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(2)[..., :TOKENS].mT
        if self.named:
            return self.attention(query=x, key=x, value=x, need_weights=False)[0]
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("named", [False, True])
def test_attention(device: str, named: bool) -> None:
    projections = 4 * TOKENS * 3 * 3
    together = SelfAttention(batch_first=True, named=named).to(device)
    assert count_macs(together, SIZE) == projections + 2 * TOKENS * TOKENS * 3
    biases, softmax = 4 * TOKENS * 3, TOKENS * TOKENS
    assert count_module_macs(together, SIZE) == projections + biases + 2 * TOKENS * TOKENS * 3 + softmax
    alone = SelfAttention(batch_first=False, named=named).to(device)
    assert count_macs(alone, SIZE) == projections + 2 * TOKENS * 3
    assert count_module_macs(alone, SIZE) == projections + biases + 2 * TOKENS * 3 + TOKENS


def test_attention_takes_the_batch_from_the_query() -> None:
    attention = nn.MultiheadAttention(8, 2, bias=False)
    query, key = (3, 10, 8), (6, 10, 8)
    found = attention_macs(attention, query, key, key)
    assert found == 10 * (8 * 8 * (3 + 6 + 6) + 2 * 3 * 6 * 8 + 3 * 6 * 2 + 3 * 8 * 8)
    assert attention_macs(attention, query, (6, 1, 8), (6, 1, 8)) == found
    batch_first = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    assert attention_macs(batch_first, (10, 3, 8), (10, 6, 8), (10, 6, 8)) == found


def test_attention_is_as_fast_afterwards() -> None:
    enabled = torch.backends.mha.get_fastpath_enabled()
    count_macs(SelfAttention(batch_first=True), SIZE)
    assert enabled == torch.backends.mha.get_fastpath_enabled()


class Disguised(nn.Module):
    """Does more than what it stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(3, 1, 1, bias=False)
        self.stages = nn.ModuleList([nn.Conv2d(3, 1, 3, padding=1), nn.ReLU()])
        self.heard: dict[str, int] = {}
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.seen(images) + self.seen(images)
        for stage in self.stages:
            images = stage(images)
        return x + images

    def module_macs(self, inputs: tuple[Tensor], output: Tensor, counted: Mapping[str, int]) -> int:
        self.heard = dict(counted)
        self.shapes = [tuple(inputs[0].shape), tuple(output.shape)]
        return 1000


def test_a_module_speaks_for_what_is_in_it() -> None:
    module = Disguised()
    network = nn.Sequential(nn.ReLU(), module)
    assert count_module_macs(network, SIZE) == 3 * PIXELS + 1000
    assert module.heard == {"seen": 2 * 3 * PIXELS, "stages.0": 28 * PIXELS, "stages.1": PIXELS}
    assert module.shapes == [(1, 3, *SIZE), (1, 1, *SIZE)]
    assert count_macs(network, SIZE) == PIXELS * (2 * 3 + 27)


def test_layers_of_other_shapes() -> None:
    assert conv_macs(nn.Conv2d(3, 4, 3), 10) == 10 * 4 * 28
    assert linear_macs(nn.Linear(3, 4, bias=False), 10) == 120
    assert norm_macs(nn.LayerNorm(3), 10) == 60


def test_sums() -> None:
    one, other = (count_network(nn.Conv2d(3, k, 1), SIZE) for k in (1, 2))
    assert (one + other).parameters == 4 + 8
    assert (one + other).module_macs == PIXELS * 12


class Prompted(nn.Module):
    """Hands a parameter of its own to a module, as a network of prompts does."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(2, 3))
        self.linear = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        prompts: Tensor = self.linear(self.prompts)
        return x.mean() + prompts


def test_a_parameter_can_be_a_modules_input() -> None:
    network = Prompted()
    assert count_macs(network, (4, 6)) == 2 * 3 * 5
    assert all(parameter.requires_grad for parameter in network.parameters())

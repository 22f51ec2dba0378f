"""Layers that methods share."""

import pytest
import torch
from mtlbench.methods.layers.conv import ConvBNReLU
from mtlbench.methods.layers.deformable import (
    DeformableConv,
    sample_channels,
    sampling_grid,
    window_coordinates,
)
from mtlbench.methods.layers.features import FeatureConv2d, concat_features
from mtlbench.methods.layers.position_attention import attend_at_positions, attend_to_projected
from mtlbench.methods.layers.task_attention import LinearTaskQuery, PositionTaskQuery, TaskQuery
from mtlbench.methods.layers.tokens import PatchEmbed, to_map, to_tokens
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from mtlbench.resizing import resize


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 6), (7, 3)])
def test_deformable_conv_is_torchvisions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = DeformableConv(8)
    torch.nn.init.normal_(layer.offsets.shift.weight)
    x = torch.randn(2, 8, *size)
    offsets = 2 * torch.randn(2, 8, 2, *size)
    ours, theirs = (p.clone().requires_grad_() for p in (x, x))
    found = layer.mix(sample_channels(ours, sampling_grid(ours, offsets)))
    expected = deform_conv2d(theirs, offsets.flatten(1, 2), layer.mix.weight, layer.mix.bias)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), ours), torch.autograd.grad(expected.square().sum(), theirs)
    )


def test_gradients_of_offsets_are_torchvisions() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 8, 4, 6), torch.randn(8, 8, 1, 1)
    ours = (2 * torch.randn(2, 8, 2, 4, 6)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    found = F.conv2d(sample_channels(x, sampling_grid(x, ours)), weight)
    expected = deform_conv2d(x, theirs.flatten(1, 2), weight)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), ours),
        torch.autograd.grad(expected.square().sum(), theirs),
        atol=1e-3,
        rtol=1e-4,
    )


def test_offsets_of_zero_change_nothing() -> None:
    x = torch.randn(2, 3, 5, 7)
    grid = sampling_grid(x, torch.zeros(2, 3, 2, 5, 7))
    torch.testing.assert_close(sample_channels(x, grid), x, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_its_type() -> None:
    x = torch.randn(1, 3, 5, 7, dtype=torch.bfloat16)
    assert sample_channels(x, torch.zeros(1, 3, 2, 5, 7)).dtype == torch.bfloat16


def test_places_are_the_offsets_places() -> None:
    torch.manual_seed(0)
    field, x = DeformableConv(6).offsets, torch.randn(2, 6, 5, 7)
    torch.nn.init.normal_(field.shift.weight)
    torch.testing.assert_close(field.grid(x), sampling_grid(x, field(x)), atol=1e-4, rtol=1e-4)


def test_window_coordinates_count_from_one() -> None:
    grid = window_coordinates(2, 3, device=torch.device("cpu"))
    assert grid.shape == (18, 2, 3)
    assert grid[:9, 1, 0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert grid[9:, 0, 2].tolist() == [2, 3, 4, 2, 3, 4, 2, 3, 4]


def test_tokens_and_back() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(to_map(to_tokens(x), (4, 5)), x)


def test_patches_cover_maps_of_any_size() -> None:
    assert PatchEmbed(6, 8)(torch.randn(2, 6, 9, 13)).shape == (2, 8, 3, 4)


SIZES = [(9, 13), (5, 7), (3, 4), (2, 2)]
COARSE = [(3, 4)] * 3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("sizes", "size", "kernel", "stride", "padding", "extra"),
    [
        (SIZES, None, 4, 4, 0, (3, 3)),
        (SIZES, None, 3, 1, 1, (0, 0)),
        (SIZES, None, 1, 1, 0, (0, 0)),
        (COARSE, (12, 16), 3, 1, 1, (0, 0)),
        (COARSE, None, 3, 1, 1, (0, 0)),
        ([(9, 13), (11, 15)], None, 3, 1, 1, (0, 0)),  # the second is resized to a smaller size
        ([(1, 1), (1, 1)], (4, 4), 3, 2, 1, (0, 0)),
    ],
)
def test_convolution_of_resized_maps_that_are_never_made(
    sizes: list[tuple[int, int]],
    size: tuple[int, int] | None,
    kernel: int,
    stride: int,
    padding: int,
    extra: tuple[int, int],
    bias: bool,
) -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 3 + i, *s).requires_grad_() for i, s in enumerate(sizes)]
    layer = FeatureConv2d(sum(x.shape[1] for x in maps), 4, kernel, stride, padding, bias=bias)
    made = torch.cat([resize(x, size) for x in maps], dim=1) if size else concat_features(maps)
    expected = F.conv2d(F.pad(made, (0, extra[1], 0, extra[0])), layer.weight, layer.bias, stride, padding)
    found = layer(maps, size, extra)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(_gradients(found, maps), _gradients(expected, maps), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def _gradients(x: Tensor, maps: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(x.square().sum(), maps, retain_graph=True)


def test_convolution_of_one_map_is_the_usual_one() -> None:
    layer, x = FeatureConv2d(3, 4, 3, padding=1), torch.randn(2, 3, 5, 7)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1))


def test_one_value_per_channel_can_be_normed_in_training() -> None:
    assert ConvBNReLU(3, 4, 3).train()(torch.randn(1, 3, 1, 1)).isfinite().all()


def _queries(kind: type[TaskQuery]) -> tuple[TaskQuery, Tensor, Tensor]:
    """One with random parameters, tokens that ask (2, 5, C) and tokens that are asked (2, 5, 3, C)."""
    torch.manual_seed(0)
    query = kind(8, 2)
    for parameter in query.parameters():
        torch.nn.init.normal_(parameter)
    return query, torch.randn(2, 5, 8), torch.randn(2, 5, 3, 8)


def _attention(query: TaskQuery, x: Tensor, asked: Tensor, *, softmax: bool = True) -> Tensor:
    """As it stands in the formula: (B, N, C) and (B, M, C) -> (B, N, C)."""
    q = query.to_q(query.norm_q(x)).unflatten(2, (2, 4)).transpose(1, 2)
    k = query.to_k(query.norm_k(asked)).unflatten(2, (2, 4)).transpose(1, 2)
    v = query.to_v(query.norm_v(asked)).unflatten(2, (2, 4)).transpose(1, 2)
    scores = q @ k.mT / 2
    seen = (scores.softmax(dim=-1) if softmax else scores) @ v
    answer: Tensor = query.proj(seen.transpose(1, 2).flatten(2))
    return answer


def test_query_is_attention_to_all_tokens_of_a_sample() -> None:
    query, x, fused = _queries(TaskQuery)
    expected = _attention(query, x, fused.flatten(1, 2))
    torch.testing.assert_close(query(x, query.read(fused)), expected, atol=1e-4, rtol=1e-4)


def test_linear_query_is_attention_without_softmax() -> None:
    query, x, fused = _queries(LinearTaskQuery)
    expected = _attention(query, x, fused.flatten(1, 2), softmax=False)
    torch.testing.assert_close(query(x, query.read(fused)), expected, atol=1e-3, rtol=1e-4)


def test_position_query_is_attention_to_the_tokens_at_the_same_position() -> None:
    query, x, fused = _queries(PositionTaskQuery)
    expected = _attention(query, x.flatten(0, 1)[:, None], fused.flatten(0, 1)).view(x.shape)
    torch.testing.assert_close(query(x, query.read(fused)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("asked", [1, 3])
def test_projections_may_be_moved_to_the_asking_side(asked: int) -> None:
    q, tokens, to_k, to_v = (torch.randn(s) for s in ((5, 2, 8), (5, asked, 8), (8, 8), (8, 8)))
    expected = attend_at_positions(q, tokens @ to_k.T, tokens @ to_v.T, 2)
    found = attend_to_projected(q, tokens, to_k, to_v, 2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)

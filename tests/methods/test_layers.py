"""Layers that methods share."""

import pytest
import torch
from mtlbench.methods.layers.deformable import DeformableConv, sample_channels, window_coordinates
from mtlbench.methods.layers.task_attention import LinearTaskQuery, PositionTaskQuery
from mtlbench.methods.layers.tokens import PatchEmbed, to_map, to_tokens
from torchvision.ops import deform_conv2d


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 6), (7, 3)])
def test_deformable_conv_is_torchvisions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = DeformableConv(8)
    torch.nn.init.normal_(layer.offsets.shift.weight)
    x = torch.randn(2, 8, *size)
    offsets = 2 * torch.randn(2, 8, 2, *size)
    ours, theirs = (p.clone().requires_grad_() for p in (x, x))
    found = layer.mix(sample_channels(ours, offsets))
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
    found = torch.nn.functional.conv2d(sample_channels(x, ours), weight)
    expected = deform_conv2d(x, theirs.flatten(1, 2), weight)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), ours),
        torch.autograd.grad(expected.square().sum(), theirs),
        atol=1e-3,
        rtol=1e-4,
    )


def test_offsets_of_zero_change_nothing() -> None:
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(sample_channels(x, torch.zeros(2, 3, 2, 5, 7)), x, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_its_type() -> None:
    x = torch.randn(1, 3, 5, 7, dtype=torch.bfloat16)
    assert sample_channels(x, torch.zeros(1, 3, 2, 5, 7, dtype=torch.bfloat16)).dtype == torch.bfloat16


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


def test_linear_query_is_attention_without_softmax_for_the_first_sample() -> None:
    q, k, v = torch.randn(1, 2, 5, 4), torch.randn(1, 2, 15, 4), torch.randn(1, 2, 15, 4)
    query = LinearTaskQuery(8, 2)
    torch.testing.assert_close(query.attend(q, k, v), (q @ k.transpose(-1, -2)) * 0.5 @ v)
    x, fused = torch.randn(3, 5, 8), torch.randn(3, 15, 8)
    torch.testing.assert_close(query(x, fused), query(x[:1], fused[:1]))


def test_position_query_sees_its_own_position_in_all_tasks_and_samples() -> None:
    query = PositionTaskQuery(8, 2)
    x, fused = torch.randn(2, 5, 8), torch.randn(2, 15, 8)
    changed = fused.clone()
    changed.view(2, 3, 5, 8)[1, 2, 4] += 1.0
    moved = (query(x, fused) - query(x, changed)).abs().amax(dim=-1) > 1e-6
    assert moved.tolist() == [[False] * 4 + [True]] * 2

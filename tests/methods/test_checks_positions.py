"""Attention at more positions than a GPU's kernel takes at a time."""

import pytest
import torch
from mtlbench.methods.layers import position_attention
from mtlbench.methods.layers.position_attention import TOGETHER, attend_at_positions
from torch.nn import functional as F


@pytest.mark.parametrize("positions", [5 * TOGETHER + 1, 40 * TOGETHER])
def test_positions_are_taken_in_parts(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    largest, taken = 2 * TOGETHER, []
    monkeypatch.setattr(position_attention, "LARGEST", largest)

    def attention(q: torch.Tensor, *others: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        taken.append(len(q))
        return plain(q, *others, **options)

    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    q, k, v = torch.randn(3, positions, 4, 6, generator=torch.Generator().manual_seed(0))
    found = attend_at_positions(q, k, v, 2)
    assert len(taken) > 1
    assert max(taken) <= largest
    heads = (x.unflatten(2, (2, 3)).transpose(1, 2) for x in (q, k, v))
    assert torch.allclose(found, plain(*heads).transpose(1, 2).flatten(2), atol=1e-6)

"""Geometric loss strategy (GLS).

Chennupati, Sistu, Yogamani, A Rawashdeh: MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
Strategy for Multi-Task Learning, CVPR Workshops 2019.

    total = (prod_i L_i)^(1/T) = exp(mean_i ln L_i),   weights total / (T L_i)

A factor on a loss changes the length of the update, not its direction. Computed from the logarithms, since
the product under- or overflows. A loss of zero, or below the smallest normal number, has weight 0.
"""

import torch
from torch import Tensor

from mtlbench.balancing import Scalarization, Step


class GLS(Scalarization):
    """The geometric mean of the losses."""

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return losses.clamp(min=torch.finfo(losses.dtype).tiny).log().mean().exp()

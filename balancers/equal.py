"""Equal weighting: the sum of the losses.

    total = sum_i L_i

The sum, not the mean (they differ under SGD, clipping and weight decay): as LibMTL and the ATRC code family
do.
"""

from torch import Tensor

from mtlbench.balancing import Scalarization, Step


class Equal(Scalarization):
    """All losses weigh 1."""

    linear = True

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return losses.sum()

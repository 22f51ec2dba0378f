"""Equal weighting: the sum of the losses.

    total = sum_i L_i

The sum, not the mean (they differ under SGD, clipping and weight decay): as LibMTL and the ATRC code family
do.

To tune equal weights is to give them up: trials have fixed weights around them.
"""

from torch import Tensor

from mtlbench.balancing import Scalarization, Step

from .fixed import Fixed


class Equal(Scalarization):
    """All losses weigh 1."""

    linear = True
    search_space = Fixed.search_space
    tuned_as = "fixed"

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return losses.sum()

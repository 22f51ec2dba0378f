"""Conflict-free updates (ConFIG).

Liu, Chu, Thuerey: ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025,
equation 2.

With the unit gradients u_i as rows of U, and x the direction with the same projection on each of them:

    x = U^+ 1,   d = (sum_i g_i . x / |x|) x / |x|

From the Gramian, with norms n and cosines C of the task gradients: k = C^+ 1, x = U^T k, |x|^2 = k^T C k =:
q^2, so that with c = k / (n q) the weights are c sum_i (K c)_i. The published code takes the pseudo-inverse
of U itself, (T, P), which costs far more than a training step. Weights may be negative. Where gradients are
dependent so that no direction has equal projections, x is that of least squares, as published; two opposite
gradients leave none.
"""

from torch import Tensor

from mtlbench.balancing import Step, Unsolvable, Weighting

from .solvers.gramians import equalising, unit

NO_DIRECTION = 1e-6
"""Length of the least squares' U x (its largest is sqrt(T)) at which no direction is left."""


class ConFIG(Weighting):
    """The update has the same projection on every task's gradient direction, as long as all add up to."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        cos, norms = unit(gramian)
        along = equalising(cos)
        projections = cos @ along  # of x on each u, 1 where gradients are independent
        if projections.norm() < NO_DIRECTION:
            raise Unsolvable("no direction has positive projections on the task gradients")
        length = (along @ projections).sqrt()
        return (norms @ projections) / length * (along / norms / length)

"""Conflict-averse gradient descent (CAGrad).

Liu, Liu, Jin, Stone, Liu: Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021,
algorithm 1.

With the average g_0 of the task gradients, the update is the d that maximises the smallest improvement:

    max_d min_i g_i . d   where |d - g_0| <= c |g_0|

In the dual form, with phi = c^2 |g_0|^2 and x on the simplex, min_x x^T G g_0 + sqrt(phi) |G^T x| gives d =
g_0 + sqrt(phi) / |G^T x| G^T x. The problem is solved exactly, whatever the scale of gradients. The
authors' code and LibMTL use SLSQP, which stops at x = 1/T where gradients are small or large; TorchJD's
solver gives a zero update where one task's gradient is 1e-4 of the others.

Options: `c` is 0.4 as in the authors' experiments (LibMTL 0.5). `rescale` divides d by 1 (0), 1 + c^2 (1, as
published) or 1 + c (2). The authors' code multiplies the result by T "to match the sum"; we don't, nor do
LibMTL and TorchJD (which doesn't rescale either).
"""

from typing import Any, Literal, get_args

from torch import Tensor

from mtlbench.balancing import Step, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.search.spaces import Range, domains
from mtlbench.tasks import Tasks

from .solvers.ball import worst_in_ball

Rescale = Literal[0, 1, 2]


class CAGrad(Weighting):
    """The update near the average gradient that descends the worst task most.

    Args:
        c: radius around the average gradient, in units of its length, >= 0.
        rescale: the update is divided by 1 (0), 1 + c^2 (1) or 1 + c (2).
    """

    # The paper shows for c < 1 that it converges to a minimum of the mean loss.
    search_space = domains(c=Range(0.1, 0.9))

    def __init__(self, tasks: Tasks, *, c: float = 0.4, rescale: Rescale = 1, **common: Any) -> None:
        super().__init__(tasks, **common)
        if not 0 <= c < float("inf"):
            raise MtlbenchError(f"`c` of balancer `cagrad` must be >= 0, got {c}")
        if rescale not in get_args(Rescale):
            raise MtlbenchError(f"`rescale` of balancer `cagrad` must be 0, 1 or 2, got {rescale}")
        self.c = float(c)
        self.divisor = (1.0, 1 + c**2, 1 + c)[rescale]

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return (1 / len(gramian) + worst_in_ball(gramian, self.c)) / self.divisor

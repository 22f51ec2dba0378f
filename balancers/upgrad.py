"""Unconflicting projection of gradients (UPGrad).

Quinton, Rey: Jacobian Descent for Multi-Objective Optimization, 2024.

Each task gradient, times its preference p_i (1/T each), is projected onto the dual cone of all of them, and
the projections are added:

    w = sum_i argmin_v v^T K~ v   where v >= p_i e_i,   K~ = K / tr K + reg_eps I

so that the update opposes no task gradient, up to reg_eps. Solved exactly, all projections at once. As in
TorchJD and LibMTL, K~ = reg_eps I where tr K < norm_eps, which makes the weights p for gradients that
small; 0 turns this off.
"""

from torch import Tensor

from mtlbench.balancing import Step

from .dualproj import DualProj
from .solvers.cone import lower_bounded


class UPGrad(DualProj):
    """Each task gradient loses what opposes other tasks' gradients; the sum of what remains.

    Args:
        preference: how much each task counts, > 0; 1 for a task not named. Only ratios matter.
        norm_eps: >= 0; below this sum of squared gradient norms all gradients are left as they are.
        reg_eps: >= 0; added to the diagonal of the inner products, in units of that sum.
    """

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return lower_bounded(self.regularized(gramian), self.preferred(step).diag()).sum(1)

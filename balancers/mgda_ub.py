"""MGDA with the upper bound (MGDA-UB).

Sener, Koltun: Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018.

MGDA whose task gradients are taken at the shared representation, so that the backbone is traversed once. As
in the authors' code and LibMTL, `normalize` bears on the search for the weights only: they weigh the raw
losses.
"""

from mtlbench.tasks import Tasks

from .mgda import MGDA, Normalize


class MGDAUB(MGDA):
    """MGDA at the representation, which bounds the norm at the parameters.

    Args:
        normalize: what task gradients are divided by first: nothing, their norm, their loss, or both.
        every: steps between two times that the weights are computed; they are kept in between.
    """

    name = "mgda_ub"

    def __init__(self, tasks: Tasks, *, normalize: Normalize = "none", every: int = 1) -> None:
        super().__init__(tasks, normalize=normalize, combine="raw", at="representation", every=every)

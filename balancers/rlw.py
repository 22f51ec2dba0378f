"""Random loss weighting (RLW).

Lin, Ye, Zhang, Tsang: Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning,
TMLR 2022.

In every step, independently of everything:

    x ~ p(x),   w = softmax(x),   total = sum_i w_i L_i

with x_i from N(0, 1) (`normal`) or U(0, 1) (`uniform`), or x uniform on the simplex (`dirichlet`). Without a
softmax: w_i 0 or 1 with equal chances, but not all 0 (`bernoulli`); one random task at a time (`one_hot`,
"constrained Bernoulli"). The weights sum to 1, but for `bernoulli`, so the update is about 1 / T of that of
equal weights. The distributions are those of LibMTL 1.1.5.
"""

from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from mtlbench.balancing import Scalarization, Step
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from ._options import require_choice

Distribution = Literal["normal", "uniform", "dirichlet", "bernoulli", "one_hot"]


class RLW(Scalarization):
    """Losses have new random weights in every step.

    Args:
        distribution: of the weights (see the module).
    """

    # All that LibMTL offers.
    search_space = domains(distribution=OneOf(get_args(Distribution)))
    linear = True

    def __init__(self, tasks: Tasks, *, distribution: Distribution = "normal") -> None:
        super().__init__(tasks)
        require_choice("rlw", "distribution", distribution, get_args(Distribution))
        self.distribution = distribution

    def total(self, losses: Tensor, step: Step) -> Tensor:
        x = self.draw(len(losses), step.generator)
        weights = x if self.distribution in ("bernoulli", "one_hot") else x.softmax(0)
        return (weights.to(losses) * losses).sum()

    def draw(self, count: int, generator: Generator) -> Tensor:
        """The numbers x (T,) float64."""
        x = torch.zeros(count, dtype=torch.float64, device=generator.device)
        if self.distribution == "normal":
            return x.normal_(generator=generator)
        if self.distribution == "uniform":
            return x.uniform_(generator=generator)
        if self.distribution == "dirichlet":
            x.exponential_(generator=generator)
            return x / x.sum()
        if self.distribution == "one_hot":
            return x.index_fill(0, torch.randint(count, (1,), generator=generator, device=x.device), 1.0)
        while not x.any():
            x.bernoulli_(0.5, generator=generator)
        return x

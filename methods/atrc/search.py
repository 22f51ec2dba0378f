"""The search stage of ATRC: all kinds of context at once, mixed by weights that are trained along.

Paper: as `atrc`. For each target and source, with a free parameter a_i for none and for each kind of context:

    C_s = sum_i w_i context_i(F_t, F_s),   w = softmax((a + Gumbel noise) / tau)
    L   = losses + lambda mean H(softmax(a))

tau falls linearly from 1 to 0.05, lambda rises from -0.02 (explore) to 0.06 (decide). Once the two largest of
softmax(a) differ by 0.3, the choice of the pair is frozen. In evaluation, and in the genotype that is found,
each pair has the kind with the largest a.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from .contexts import GLOBAL, LOCAL, NONE, S_LABEL, T_LABEL, Regions, context_dim, make_context
from .genotypes import Genotype
from .network import RelationalNetwork

ABSENT = -1e4
"""In place of a free parameter: its probability is 0, its gradient too."""


class Candidates(nn.Module):
    """All kinds of context between two tasks.

    Args:
        kinds: of the contexts, from 1 upwards; 0, none, comes before them.
        channels: of the features.
        see_outside: of the local context.
    """

    fixed_weights: Tensor | None

    def __init__(self, kinds: tuple[int, ...], channels: int, *, see_outside: bool) -> None:
        super().__init__()
        self.dim = context_dim(channels)
        self.ops = nn.ModuleList(
            make_context(kind, channels, see_outside=see_outside, affine=False) for kind in kinds
        )
        self.arch_param = nn.Parameter(torch.zeros(len(kinds) + 1))
        self.register_buffer("fixed_weights", None)
        self.frozen: int | None = None
        """The kind in `fixed_weights`, where no device has to be asked for it."""

    def forward(self, weights: Tensor, target: Tensor, asked: Callable[[int], Tensor]) -> Tensor:
        """The weighted sum of all kinds.

        Args:
            weights: (kinds + 1 or more,), the first that of none.
            target: features (B, C, H, W).
            asked: kind -> what a context of this kind asks.

        Returns:
            (B, D, H, W).
        """
        return reduce(
            torch.add, (weights[kind] * op(target, asked(kind)) for kind, op in enumerate(self.ops, 1))
        )

    def choose(self, kind: int, target: Tensor, asked: Callable[[int], Tensor]) -> Tensor:
        """One kind alone: (B, D, H, W)."""
        if kind == NONE:
            return target.new_zeros(len(target), self.dim, *target.shape[2:])
        answer: Tensor = self.ops[kind - 1](target, asked(kind))
        return answer

    def freeze(self, kind: int) -> None:
        """From now on only this kind is used in training."""
        self.frozen = kind
        self.fixed_weights = F.one_hot(self.arch_param.new_tensor(kind).long(), len(self.arch_param)).float()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Frozen weights exist only where there are some, as in published checkpoints."""
        fixed = state_dict.get(f"{prefix}fixed_weights")
        if fixed is None:
            self.fixed_weights, self.frozen = None, None
        else:
            self.freeze(int(fixed.argmax()))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class ATRCSearch(RelationalNetwork):
    """ATRC's search stage: finds the kind of context of each pair of tasks.

    Train it with the recipe of `atrc`; the genotype stands in the result under `findings`, and `atrc` takes
    the result's path as its `genotype`.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        arch_lr: learning rate of the weights of the kinds (Adam, no weight decay).
        temperature: of their softmax, at the start and at the end.
        entropy: factor of their entropy in the loss, at the start and at the end.
        margin: between the two likeliest kinds of a pair, from which on its choice is frozen.
        common: options of `RelationalNetwork`: `variant`, `without`, `depth_range`, `centroids`.
    """

    paper = "Bruggemann et al., ICCV 2021"
    code = "after the released code, brdav/atrc"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        arch_lr: float = 5e-4,
        temperature: tuple[float, float] = (1.0, 0.05),
        entropy: tuple[float, float] = (-0.02, 0.06),
        margin: float = 0.3,
        **common: Any,
    ) -> None:
        super().__init__(backbone, tasks, **common)
        _check(arch_lr, temperature, margin)
        self.arch_lr, self.temperature, self.entropy, self.margin = arch_lr, temperature, entropy, margin
        self.progress = 0.0
        self.optimizer: torch.optim.Adam | None = None
        contexts = {
            t: {s: Candidates(_kinds(t, s), self.width, see_outside=self.see_outside) for s in tasks}
            for t in tasks
        }
        self.assemble(contexts, auxiliary=list(tasks), dropout=0.0)

    def relate(self, target: str, features: Mapping[str, Tensor], regions: Regions) -> list[Tensor]:
        """The answers of all sources: mixed in training, of the chosen kind once frozen and in evaluation."""
        candidates = cast(Mapping[str, Candidates], self.contexts_of(target))
        logits = _stack(list(candidates.values()))  # (T, 5)
        if self.training:
            weights = F.gumbel_softmax(logits, tau=self._between(self.temperature))  # noise: the global RNG
            chosen = [pair.frozen for pair in candidates.values()]
        else:
            weights, chosen = logits, logits.argmax(1).tolist()
        answers = []
        for (source, pair), w, kind in zip(candidates.items(), weights, chosen, strict=True):

            def asked(kind: int, source: str = source) -> Tensor:
                return regions.asked(kind, target, source)

            f = features[target]
            answers.append(pair(w, f, asked) if kind is None else pair.choose(kind, f, asked))
        return answers

    def schedule(self, progress: float) -> None:
        """Move temperature and entropy factor on, and freeze the pairs that have decided."""
        self.progress = progress
        for pair, p in zip(self._pairs(), self._probabilities().tolist(), strict=True):
            first, second = sorted(p, reverse=True)[:2]
            if pair.frozen is None and first - second >= self.margin:
                pair.freeze(p.index(first))

    def penalty(self, tasks: Collection[str]) -> Tensor:
        """The mean entropy of the pairs whose target trains, times its factor."""
        pairs = [pair for task in tasks for pair in self._pairs_of(task)]
        log_p = _stack(pairs).log_softmax(1)
        return self._between(self.entropy) * -(log_p.exp() * log_p).sum(1).mean()

    def own_optimizer(self) -> torch.optim.Optimizer:
        """Adam for the weights of the kinds."""
        self.optimizer = torch.optim.Adam([pair.arch_param for pair in self._pairs()], lr=self.arch_lr)
        return self.optimizer

    def findings(self) -> dict[str, Any]:
        """The genotype so far, in the published form, with the number of steps that found it."""
        states = self.optimizer.state.values() if self.optimizer is not None else ()
        step = max((int(state["step"]) for state in states), default=0)
        return {"genotype": {"data": self.genotype(), "step": step}}

    def genotype(self) -> Genotype:
        """The likeliest kind of each pair."""
        kinds = iter(self._probabilities().argmax(1).tolist())
        return {target: {source: next(kinds) for source in self.tasks} for target in self.tasks}

    def _pairs(self) -> list[Candidates]:
        return [pair for task in self.tasks for pair in self._pairs_of(task)]

    def _pairs_of(self, target: str) -> list[Candidates]:
        return [module for module in self.contexts_of(target).values() if isinstance(module, Candidates)]

    def _probabilities(self) -> Tensor:
        """Of the kinds of all pairs: (T T, 5), 0 for kinds that a pair lacks."""
        return _stack(self._pairs()).softmax(1)

    def _between(self, ends: tuple[float, float]) -> float:
        return ends[0] + (ends[1] - ends[0]) * self.progress


def _kinds(target: str, source: str) -> tuple[int, ...]:
    """Between a task and itself the two label contexts are the same."""
    return (GLOBAL, LOCAL, T_LABEL) if target == source else (GLOBAL, LOCAL, T_LABEL, S_LABEL)


def _stack(pairs: Sequence[Candidates]) -> Tensor:
    """The free parameters of all kinds, a row per pair (pairs, 5); `ABSENT` for a kind that a pair lacks."""
    return torch.stack(
        [F.pad(p.arch_param, (0, S_LABEL + 1 - len(p.arch_param)), value=ABSENT) for p in pairs]
    )


def _check(arch_lr: float, temperature: tuple[float, float], margin: float) -> None:
    """Raise MtlbenchError for what can't be."""
    if not arch_lr > 0:
        raise MtlbenchError(f"`arch_lr` of atrc_search must be > 0, got {arch_lr}")
    if not min(temperature) > 0:
        raise MtlbenchError(f"`temperature` of atrc_search must be > 0, got {list(temperature)}")
    if not 0 < margin <= 1:
        raise MtlbenchError(f"`margin` of atrc_search must be > 0 and <= 1, got {margin}")

"""ATRC: adaptive task-relational context.

Paper: Bruggemann et al., "Exploring Relational Context for Multi-Task Dense Prediction", ICCV 2021. Each
task's features ask those of every task, by the kind of attention that a search has found for the pair:

    X   = [F_1; up(F_2); up(F_3); up(F_4)]               all levels at the finest one's size
    F_t = ReLU(BN(conv3x3_t(X)))
    A_t = aux_t(stop_gradient(X))                        auxiliary prediction: classes, bins, clusters
    C_s = context_ts(F_t, F_s, A_t or A_s)               `contexts`: global, local, t-label, s-label or none
    D_t = BN(conv1x1_t([C_1; ...; C_T]))                 zero at the start
    y_t = up(logits_t(dropout(ReLU(BN(conv1x1_t([F_t; D_t]))))))

The auxiliary losses train A_t but not the backbone; through the label contexts A_t is trained by the final
losses too. Which pair has which kind of context is the genotype (`genotypes`), found by `atrc_search`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from .contexts import KINDS, NONE, S_LABEL, T_LABEL, Regions, make_context
from .genotypes import Genotype, resolve
from .network import RelationalNetwork

NAMES = {number: name for name, number in KINDS.items()}


class ATRC(RelationalNetwork):
    """ATRC: task features distilled from each other through relational contexts.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        genotype: the kind of context of each pair: `auto` (the published one of the data set, found with the
            backbone nearest in width; t-label for tasks that it does not have), `nyud-hrnet18`,
            `nyud-hrnet48`, `pascal-hrnet18`; `global`, `local`, `t-label` or `s-label` for all pairs; a JSON
            file, as published or the result of an `atrc_search`; or target -> source -> kind.
        dropout: of whole channels, before the logits.
        common: options of `RelationalNetwork`: `variant`, `without`, `depth_range`, `centroids`.
    """

    paper = "Bruggemann et al., ICCV 2021"
    code = "after the released code, brdav/atrc"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        genotype: str | dict[str, dict[str, int | str]] = "auto",
        dropout: float = 0.05,
        **common: Any,
    ) -> None:
        super().__init__(backbone, tasks, **common)
        if not 0 <= dropout < 1:
            raise MtlbenchError(f"`dropout` of atrc must be >= 0 and < 1, got {dropout}")
        self.genotype = resolve(genotype, tasks, self.in_channels)
        contexts = {
            target: {
                source: make_context(kind, self.width, see_outside=self.see_outside)
                for source, kind in row.items()
                if kind != NONE
            }
            for target, row in self.genotype.items()
        }
        self.assemble(contexts, auxiliary=_asked_for_labels(self.genotype), dropout=dropout)

    @property
    def meanings(self) -> dict[str, str]:
        """And the kind of each context, of which all have parameters of the same shapes."""
        kinds = {
            f"contexts.{target}.{source}.": NAMES[kind]
            for target, row in self.genotype.items()
            for source, kind in row.items()
        }
        return super().meanings | kinds

    def relate(self, target: str, features: Mapping[str, Tensor], regions: Regions) -> list[Tensor]:
        """The answers of all sources that the target has."""
        return [
            context(features[target], regions.asked(self.genotype[target][source], target, source))
            for source, context in self.contexts_of(target).items()
        ]


def _asked_for_labels(genotype: Genotype) -> list[str]:
    """Tasks whose auxiliary prediction some pair needs."""
    targets = {target for target, row in genotype.items() if T_LABEL in row.values()}
    sources = {source for row in genotype.values() for source, kind in row.items() if kind == S_LABEL}
    return [task for task in genotype if task in targets | sources]

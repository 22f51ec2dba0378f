"""Polyhistor (Liu, Ma, Tian, He and Kira, "Polyhistor: Parameter-Efficient Multi-Task Adaptation for Dense
Vision Tasks", NeurIPS 2022). *Our reading*: no code is public, and sizes of the paper's tables could not be
derived from what is known of it.
"""

from __future__ import annotations

from torch import nn

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import BackboneMode, Tuning

from .layers.hypernetwork import (
    LowRankMatrices,
    MakeMatrices,
    ScaledMatrices,
    check_positive,
    make_adapters,
    multiples_of,
)
from .layers.passes import WHY_NOT_MERGED


class Polyhistor(Tuning):
    """Polyhistor (our reading): as HyperFormer, with matrices that are products of two made factors.

    The backbone is frozen; adapters stand behind attention and MLP of each block, and each task has a pass of
    the encoder of its own.

    Args:
        reduction: a layer's width over that of its bottleneck.
        rank: of the matrices that are made.
        lite: matrices are made for the narrowest layers only; those of wider ones are their Kronecker product
            with a small matrix, trained for each layer.
        embedding: width of the embeddings of tasks and layers.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    # Around the defaults.
    search_space = domains(rank=OneOf((4, 8, 16, 32)), reduction=OneOf((2, 4, 8, 16)))

    def __init__(
        self,
        *,
        reduction: int = 2,
        rank: int = 16,
        lite: bool = False,
        embedding: int = 64,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        check_positive("polyhistor", reduction=reduction, rank=rank, embedding=embedding)
        self.reduction, self.rank, self.lite, self.embedding = reduction, rank, lite, embedding
        self.backbone_mode = backbone_mode

    def apply(self, network: Method) -> Method:
        return make_adapters(
            network,
            self._scaled if self.lite else lambda widths: self._low_rank,
            tuning="polyhistor",
            embedding=self.embedding,
            reduction=self.reduction,
            mode=self.backbone_mode,
        )

    def _low_rank(self, rows: int, columns: int, layers: int) -> nn.Module:
        return LowRankMatrices(rows, columns, self.rank)

    def _scaled(self, widths: list[int]) -> MakeMatrices:
        """For the narrowest layers templates are made; they come first."""
        narrowest = widths[0]
        if not multiples_of(narrowest, widths) or narrowest % self.reduction or self.reduction == 1:
            raise MtlbenchError(
                "`lite` of polyhistor needs layers whose widths are multiples of the narrowest, and that one "
                f"of a `reduction` >= 2, got widths {widths} and reduction {self.reduction}"
            )
        templates: dict[bool, nn.Module] = {}

        def make(rows: int, columns: int, layers: int) -> nn.Module:
            up = rows > columns
            if up not in templates:
                templates[up] = self._low_rank(rows, columns, layers)
                return templates[up]
            return ScaledMatrices(templates[up], layers, max(rows, columns) // narrowest)

        return make

    def merge(self, network: Method) -> str | None:
        return WHY_NOT_MERGED if network.needs_backbone else None

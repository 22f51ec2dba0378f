"""HyperFormer (Mahabadi et al., "Parameter-efficient Multi-task Fine-tuning for Transformers via Shared
Hypernetworks", ACL 2021), after the released code for text, github.com/rabeehk/hyperformer.
"""

from __future__ import annotations

from torch import nn

from mtlbench.model import Method
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import BackboneMode, Tuning

from .layers.hypernetwork import Matrices, check_positive, make_adapters
from .layers.passes import WHY_NOT_MERGED


class HyperFormer(Tuning):
    """HyperFormer: one network makes the adapters of all tasks and layers, from embeddings of both.

    The backbone is frozen; adapters stand behind attention and MLP of each block (`layers/hypernetwork.py`
    has the equations). Each task has a pass of the encoder of its own. Layers of one width share what makes
    their weights, so that a Swin has one such part for each stage.

    Args:
        reduction: a layer's width over that of its bottleneck.
        embedding: width of the embeddings of tasks and layers.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    # reduction: around that of the code.
    search_space = domains(reduction=OneOf((4, 8, 16, 32)))

    def __init__(
        self, *, reduction: int = 16, embedding: int = 512, backbone_mode: BackboneMode = "train"
    ) -> None:
        check_positive("hyperformer", reduction=reduction, embedding=embedding)
        self.reduction, self.embedding, self.backbone_mode = reduction, embedding, backbone_mode

    def apply(self, network: Method) -> Method:
        return make_adapters(
            network,
            lambda widths: _matrices,
            tuning="hyperformer",
            embedding=self.embedding,
            reduction=self.reduction,
            mode=self.backbone_mode,
        )

    def merge(self, network: Method) -> str | None:
        return WHY_NOT_MERGED if network.needs_backbone else None


def _matrices(rows: int, columns: int, layers: int) -> nn.Module:
    return Matrices(rows, columns)

"""InvPT++ (our reading): InvPT, with a choice of how attention is handed from one scale to the next.

Paper: Ye, Xu, "InvPT++: Inverted Pyramid Multi-Task Transformer for Visual Scene Understanding", TPAMI 2024
(arXiv 2306.04842). No code is public. The paper names two kinds of cross-scale self-attention in the decoder
of InvPT (`invpt`), whose encoder, preliminary decoder and aggregation of encoder features it keeps:

* Fusion Attention combines the attention of two scales. That is InvPT's message passing, so that with
  `attention: fusion` (default) this network *is* InvPT, number for number.
* Selective Attention lets the coarser scale's attention choose the places that take part at the finer scale.
  With `attention: selective` each stage s > 0 keeps half of the cells over which the stage before it
  averaged, those that it attended to most, and attends to the four finer tokens in each:

    s_k  = mean(softmax(A^(s-1))_k)           over heads and queries of an image, for each cell k
    K, V = finer tokens of the cells with the largest s_k, of all tasks together
    A^s  = Q K^T / sqrt(C),   X^s = X^s + softmax(A^s) V

  How many are kept, by which score, and how fine the tokens are is our choice; nothing public says.

The paper's networks have 0.8 to 0.9 million parameters less than InvPT and 32 to 34 G more FLOPs with ViT-B,
ViT-L and Swin-L. Ours have those of InvPT, without the layers that fuse attention in `selective`, and don't
reproduce its FLOPs.
"""

from typing import Any, Literal, cast

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from .invpt import InvPT
from .layers.selective_attention import SelectiveAttention
from .layers.windows import initialise_linear


class InvPTPlusPlus(InvPT):
    """InvPT++ (our reading): InvPT whose finer scales attend to what the coarser scale chose.

    Args:
        backbone: gives the features, as in InvPT.
        tasks: what to predict.
        attention: `fusion`, which is InvPT, or `selective`.
        keep: (selective) the share of places that take part at a finer scale, in (0, 1].
        keep_per_task: (selective) that share of each task's places, not of all tasks' together.
        variant: `corrected`, or `published` with the unused layers of InvPT's released code.
        without: quirks of the variant to leave out.
        embed_dim: width of the preliminary features.
        extra_channels: how much wider the first stage is; the sum is halved twice.
        heads: of the attention.
        mlp_ratio: width of the stages' MLPs, in multiples of their width.
        downsample: how much coarser the first stage is than the last feature map; None: what brings it to
            stride 32.
    """

    paper = "Ye and Xu, TPAMI 2024"
    code = "our reading of the paper, no code is public"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        attention: Literal["fusion", "selective"] = "fusion",
        keep: float = 0.5,
        keep_per_task: bool = False,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        embed_dim: int = 512,
        extra_channels: int = 64,
        heads: int = 2,
        mlp_ratio: int = 4,
        downsample: int | None = None,
    ) -> None:
        super().__init__(
            backbone,
            tasks,
            variant=variant,
            without=without,
            embed_dim=embed_dim,
            extra_channels=extra_channels,
            heads=heads,
            mlp_ratio=mlp_ratio,
            downsample=downsample,
        )
        _check(attention, keep)
        if attention == "fusion":
            return
        for stage, dim in list(zip(self.pyramid.stages, self.dims, strict=True))[1:]:
            stage.attention = SelectiveAttention(
                tasks, dim, heads, window=cast(Any, stage).attention.window, keep=keep, per_task=keep_per_task
            )
            initialise_linear(stage.attention)


def _check(attention: str, keep: float) -> None:
    """Raise MtlbenchError for what can't be built, naming the option."""
    if attention not in ("fusion", "selective"):
        raise MtlbenchError(f"`attention` of invpt_pp must be `fusion` or `selective`, got {attention!r}")
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1:
        raise MtlbenchError(f"`keep` of invpt_pp must be in (0, 1], got {keep!r}")

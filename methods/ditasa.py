"""DITASA: deformable inter-task self-attention.

Paper: Bohn, Kurbiel, Friedrichs, Tercan and Meisen, arXiv 2508.04422, 2025. *Our reading* of its abstract: no
code is public, and neither was the text to be had. Attention among the tokens of all tasks costs (T N)^2
products; here every token of every task reads a few places, which it chooses, in each task's map, as
Deformable DETR does in each scale's. T maps at 1/8, two blocks by default:

    F_t   = W_t [F_1; up(F_2); up(F_3); up(F_4)]                    pointwise, batch norm, ReLU
    z_t   = LN(F_t) + e_t + p                                       embedding of the task, position
    F_t  += W_o concat_m sum_s,k a_msk(z_t) (W_v LN(F_s))(p + delta_msk(z_t))
    F_t  += MLP(LN(F_t))
    y_t   = up(logits_t(ReLU(BN(conv3x3_t(F_t)))))

`attention: full` and `attention: window` are the same network with attention to all tokens, and to all tasks'
tokens of a window, which the paper's claim is about: what they cost, and what this one costs, is in
docs/inter_task_cost.md.
"""

from typing import Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.registry import unknown
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from .layers.checks import check_heads, check_numbers
from .layers.inter_task import DeformableAttention, FullAttention, InterTaskBlock, WindowedAttention
from .layers.task_maps import Predictions, TaskMaps
from .layers.windows import mlp

ATTENTIONS = ("deformable", "full", "window")


class DITASA(Method):
    """DITASA (our reading): each task's tokens read a few places of every task's map.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        attention: `deformable`, or what it is compared with: `full`, or `window`.
        dim: width of the tokens.
        depth: blocks.
        heads: of the attention.
        points: places that a head reads in each task's map.
        window: side of the windows of `attention: window`.
        mlp_ratio: width of the MLPs, in multiples of `dim`.
    """

    paper = "Bohn et al., arXiv 2508.04422, 2025"
    code = "our reading of the abstract, no code is public"
    search_space = domains(points=OneOf((1, 2, 4, 8)), depth=OneOf((1, 2, 4)))

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        attention: Literal["deformable", "full", "window"] = "deformable",
        dim: int = 256,
        depth: int = 2,
        heads: int = 8,
        points: int = 4,
        window: int = 7,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__(backbone, tasks)
        check_numbers(
            "ditasa", dim=dim, depth=depth, heads=heads, points=points, window=window, mlp_ratio=mlp_ratio
        )
        check_heads("ditasa", dim, heads)
        if attention not in ATTENTIONS:
            raise MtlbenchError(unknown("`attention` of ditasa", attention, ATTENTIONS))

        def make(i: int) -> nn.Module:
            if attention == "full":
                return FullAttention(tasks, dim, heads)
            if attention == "window":
                return WindowedAttention(tasks, dim, heads, window=window, shifted=i % 2 == 1)
            return DeformableAttention(tasks, dim, heads, points=points)

        self.attention = attention
        self.maps = TaskMaps(sum(backbone.channels), tasks, dim)
        self.blocks = nn.ModuleList(
            InterTaskBlock(tasks, dim, make(i), mlp(dim, mlp_ratio * dim)) for i in range(depth)
        )
        self.final = Predictions(dim, tasks)

    @property
    def own_parameters(self) -> dict[str, tuple[str, ...]]:
        """What names a task's queries, which nothing but its own answers come from in the last block."""
        if self.attention != "deformable":
            return {}
        return {t: (f"blocks.{len(self.blocks) - 1}.names.{t}",) for t in self.tasks}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        maps = self.maps(features)
        for block in self.blocks:
            maps = block(maps)
        return Outputs(self.final(maps, size))

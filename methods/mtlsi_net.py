"""MTLSI-Net: linear semantic interaction between tasks.

Paper: Liu, Man, Fan and Zhao, "MTLSI-Net", arXiv 2604.01995, 2026. *Our reading* of what is known of it: no
code is public. Nothing in it grows faster than the number of tokens, so it works on maps at 1/8. Three parts,
each with the same weights for all tasks, two times by default:

    F_t  = conv3x3_t(W_t [F_1; up(F_2); up(F_3); up(F_4)])         batch norm and ReLU after both
    F_t += W_o concat_r (q_r G) / (q_r n)                          linear attention to one context G, n of all
                                                                   tasks; queries of 1, 3, 5 pixels (MT-MQLFB)
    S    = attention of 512 learned queries to all tasks' tokens   semantic tokens (STD)
    F_t += g A_t + (1 - g) B_t;  F_t += MLP(LN(F_t))               A: in windows, B: to S, gate g (CWIB)
    y_t  = up(logits_t(ReLU(BN(conv3x3_t(F_t)))))

What it costs beside attention among all tokens is in docs/inter_task_cost.md.
"""

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from .layers.checks import check_heads, check_numbers
from .layers.inter_task import Maps
from .layers.shared_context import SemanticTokens, SharedContext, WindowAndTokens
from .layers.task_maps import Predictions, TaskMaps
from .layers.windows import Windows, plain_and_shifted


class MTLSINet(Method):
    """MTLSI-Net (our reading): linear attention across tasks, windows and a few semantic tokens.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        dim: width of the tokens.
        depth: how often the three parts follow each other.
        heads: of all attention.
        tokens: semantic tokens.
        scales: sides of the windows from which queries are made, odd numbers.
        window: side of the windows of the attention, shifted in every second block.
        mlp_ratio: width of the MLPs, in multiples of `dim`.
    """

    paper = "Liu et al., arXiv 2604.01995, 2026"
    code = "our reading of what is known of it, no code is public"
    search_space = domains(tokens=OneOf((128, 256, 512, 1024)), depth=OneOf((1, 2, 4)))

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        dim: int = 256,
        depth: int = 2,
        heads: int = 8,
        tokens: int = 512,
        scales: tuple[int, ...] = (1, 3, 5),
        window: int = 7,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__(backbone, tasks)
        check_numbers(
            "mtlsi_net", dim=dim, depth=depth, heads=heads, tokens=tokens, window=window, mlp_ratio=mlp_ratio
        )
        check_heads("mtlsi_net", dim, heads)
        _check_scales(scales)
        self.window = window
        self.maps = TaskMaps(sum(backbone.channels), tasks, dim, refine=True)
        self.blocks = nn.ModuleList(
            LinearInteraction(dim, heads, tokens, scales, window, mlp_ratio) for _ in range(depth)
        )
        self.final = Predictions(dim, tasks)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        maps = self.maps(features)
        windows = plain_and_shifted(next(iter(maps.values())), self.window)
        for i, block in enumerate(self.blocks):
            maps = block(maps, windows[i % 2])
        return Outputs(self.final(maps, size))


class LinearInteraction(nn.Module):
    """The three parts, one after the other."""

    def __init__(
        self, dim: int, heads: int, tokens: int, scales: tuple[int, ...], window: int, mlp_ratio: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.shared_context = SharedContext(dim, heads, scales)
        self.token_norm = nn.LayerNorm(dim)
        self.semantic_tokens = SemanticTokens(dim, tokens, heads, mlp_ratio)
        self.two_branches = WindowAndTokens(dim, heads, window, mlp_ratio)

    def forward(self, maps: Maps, windows: Windows) -> Maps:
        """Every task's (B, H, W, C) -> the same."""
        answers = self.shared_context({t: self.norm(x) for t, x in maps.items()})
        maps = {t: x + answers[t] for t, x in maps.items()}
        tokens = self.semantic_tokens({t: self.token_norm(x) for t, x in maps.items()})
        return {t: self.two_branches(x, tokens, windows) for t, x in maps.items()}


def _check_scales(scales: tuple[int, ...]) -> None:
    if not scales or any(isinstance(r, bool) or r < 1 or r % 2 == 0 for r in scales):
        raise MtlbenchError(f"`scales` of mtlsi_net must be odd numbers >= 1, at least one, got {scales}")

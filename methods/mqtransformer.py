"""MQTransformer: tasks exchange what they know through a few query tokens each.

Paper: Xu et al., "Multi-Task Learning with Multi-query Transformer for Dense Prediction", TCSVT 2023
(arXiv 2205.14354). Every task has its own projection of the features and M learnt tokens. The tokens read
the task's pixels, all tasks' tokens attend to each other, and the pixels read their task's tokens:

    X_t = W_t [F_1; up(F_2); up(F_3); up(F_4)]          pixels of the finest level
    P_t = encoder(R_t, X_t)                             tokens R_t ask pixels; shared by the tasks
    P   = P + attention(P);  P = P + MLP(P)             cross-task query attention, over all T M tokens
    O_t = X_t + attention(X_t, P_t, P_t);  O_t = O_t + MLP(O_t)          decoder, shared by the tasks
    Y_t = O_t + self-attention(O_t);       Y_t = GELU(Y_t + MLP(Y_t))
    y_t = up(logits_t(ReLU(BN(conv3x3_t(Y_t)))))

* `corrected` (default): the decoder's self-attention, over all pixels in the text, runs over the tasks at
  each position of a sample; at 1/4 resolution all pixels' attention to all would cost many times the rest of
  the network.
* `published` is the released code, number for number. The same self-attention takes the batch axis for the
  sequence, the second half of the decoder adds to X_t instead of O_t, and three modules have parameters but
  no use.

The released code passes a drop-path rate of 0.5, which only the cross-task attention takes; encoder and
decoder keep 0.1. Both are options here, and as trained.
"""

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.profiling import conv_macs, norm_macs
from mtlbench.published import Rule, for_tasks
from mtlbench.resizing import resize
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from .layers.checks import check_heads, check_numbers, check_rates
from .layers.conv import ConvBNReLU, initialise_logits
from .layers.position_attention import TaskInteraction
from .layers.pyramid import PyramidLinears
from .layers.task_tokens import DropPath, NormedAttention, NormedMLP, PixelsReadTokens, TokensReadPixels
from .layers.tokens import PatchEmbed, to_map, to_tokens

BLOCK = r"parts_query_encoder_decoder_blocks\.0\."
UNUSED = {
    "unused_patches": (r"patch_embed\.", "unused_patches."),
    "unused_attention": (BLOCK + r"decoder1\.attn2\.", "unused_attention."),
    "unused_positions": (BLOCK + r"decoder1\.rel_pos\.", "unused_positions."),
}
"""Quirk -> where its dead parameters are, in the published code and here."""
RULES = (
    Rule(BLOCK + r"encoder1\.enc_attn\.", "encoder.attention."),
    Rule(BLOCK + r"encoder1\.reason\.norm\.", "encoder.norm."),
    Rule(
        BLOCK + r"encoder1\.reason\.linear\.weight$", "encoder.mix.weight", lambda weight: weight.squeeze(-1)
    ),
    Rule(BLOCK + r"encoder1\.enc_ffn\.", "encoder.mlp."),
    Rule(BLOCK + r"mhsa_1\.", "interaction.attention."),
    Rule(BLOCK + r"norm_layer\.", "interaction.norm."),
    Rule(BLOCK + r"ffn_mlp\.", "interaction.mlp."),
    Rule(BLOCK + r"decoder1\.attn1\.", "decoder.attention."),
    Rule(BLOCK + r"decoder1\.ffn1\.", "decoder.mlp."),
    Rule(BLOCK + r"decoder1\.mhsa\.", "decoder.self_attention.attention."),
    Rule(BLOCK + r"decoder1\.ffn2\.", "decoder.self_mlp."),
)
RULES_OF_TASK = (
    Rule(r"linears\.TASK\.", "projections.TASK."),
    Rule(BLOCK + r"rpn_tokens\.TASK$", "tokens.TASK"),
    Rule(BLOCK + r"rpn_qpos\.TASK$", "query_positions.TASK"),
    Rule(BLOCK + r"rpn_kpos\.TASK$", "key_positions.TASK"),
)
PIXELS = 4096
"""That are decoded at a time in inference."""
OFFSETS = 7
"""Rows and columns of the relative positions that nothing reads."""


class Encoder(nn.Module):
    """Tokens ask pixels, then each goes through a linear map and an MLP."""

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attention = TokensReadPixels(dim, heads)
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Linear(dim, dim, bias=False)
        self.mlp = NormedMLP(dim, dim)
        self.drop_path = DropPath(drop_path, task_axis=1)

    def forward(self, tokens: Tensor, positions: Tensor, pixels: Tensor) -> Tensor:
        """Tokens and their positions (T, M, C), normed pixels (B, N, T, C) -> (B, T, M, C)."""
        p = tokens + self.drop_path(self.attention(tokens + positions, pixels))
        p = p + self.mix(self.norm(p))
        return p + self.drop_path(self.mlp(p))


class CrossTaskAttention(nn.Module):
    """All tokens of all tasks attend to each other."""

    def __init__(self, dim: int, heads: int, drop_path: float, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.mlp = NormedMLP(dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, M, C) -> (B, T, M, C)."""
        p = tokens.flatten(1, 2)  # (B, T M, C)
        p = p + self.drop_path(self.attention(p, p, p, need_weights=False)[0])
        p = p + self.drop_path(self.mlp(self.norm(p)))
        return p.view(tokens.shape)


class Decoder(nn.Module):
    """Pixels ask their task's tokens, then each other."""

    def __init__(self, dim: int, heads: int, drop_path: float, *, over_batch: bool, skip: bool) -> None:
        super().__init__()
        self.attention = PixelsReadTokens(dim, heads)
        self.mlp = NormedMLP(dim, 3 * dim)
        self.self_attention = TaskInteraction(dim, heads, over_batch=over_batch)
        self.self_mlp = NormedMLP(dim, 3 * dim)
        self.gelu = nn.GELU()
        self.drop_path = DropPath(drop_path, task_axis=2)
        self.skip = skip

    def forward(self, x: Tensor, normed: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Pixels twice (B, N, T, C), tokens (B, T, M, C), their positions (T, M, C) -> (B, N, T, C)."""
        o = x + self.drop_path(self.attention(normed, tokens, positions))
        o = o + self.drop_path(self.mlp(o))
        y = (x if self.skip else o) + self.drop_path(self.self_attention(o))
        return self.gelu(y + self.drop_path(self.self_mlp(y)))


class MQTransformer(Method):
    """MQTransformer: query tokens of each task that read its pixels, attend to each other and are read.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        variant: `corrected` or `published` (released code).
        without: quirks of the variant to leave out.
        dim: width of pixels and tokens.
        tokens: of each task.
        heads: of all attentions.
        channels: width of each task's last layer.
        drop_path: how often encoder and decoder leave out a branch in training.
        cross_drop_path: the same, of the attention across tasks.
        cross_dropout: of the weights of the attention across tasks.

    Quirks:
        decoder_over_batch: the decoder's self-attention attends over the batch axis, a pixel to the same
            task's at the same position in all samples; corrected: over the tasks at each position of a
            sample.
        skipped_residual: the decoder's second half adds to the decoder's input; corrected: to its first
            half's output.
        unused_patches: a patch embedding whose result nothing reads; corrected: left out.
        unused_attention: a second attention of the decoder that nothing calls; corrected: left out.
        unused_positions: relative positions that nothing reads; corrected: left out.
    """

    paper = "Xu et al., TCSVT 2023"
    code = "after the released code, yangyangxu0/MQTransformer"
    # Around the published 64.
    search_space = domains(tokens=OneOf((16, 32, 64, 128)))
    sample_mixing: ClassVar[tuple[str, ...]] = ("decoder_over_batch",)

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        dim: int = 256,
        tokens: int = 64,
        heads: int = 4,
        channels: int = 64,
        drop_path: float = 0.1,
        cross_drop_path: float = 0.5,
        cross_dropout: float = 0.1,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        check_numbers("mqtransformer", dim=dim, tokens=tokens, heads=heads, channels=channels)
        check_heads("mqtransformer", dim, heads)
        check_rates(
            "mqtransformer", drop_path=drop_path, cross_drop_path=cross_drop_path, cross_dropout=cross_dropout
        )
        self.published_keys = (*_rules(self.quirks), *for_tasks(RULES_OF_TASK, tasks))
        self.projections = PyramidLinears(sum(backbone.channels), dim, tasks)
        self.tokens = _learnt(tasks, 1, tokens, dim)
        self.query_positions = _learnt(tasks, 1, tokens, 1, dim // heads)
        self.key_positions = _learnt(tasks, 1, tokens, 1, dim // heads)
        self.encoder = Encoder(dim, heads, drop_path)
        self.interaction = CrossTaskAttention(dim, heads, cross_drop_path, cross_dropout)
        self.decoder = Decoder(
            dim,
            heads,
            drop_path,
            over_batch="decoder_over_batch" in self.quirks,
            skip="skipped_residual" in self.quirks,
        )
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(dim, channels, 3) for t in tasks})
        self.final_logits = nn.ModuleDict({t: nn.Conv2d(channels, tasks[t].channels, 1) for t in tasks})
        initialise_logits(self)
        self._add_unused(dim, heads)

    def _add_unused(self, dim: int, heads: int) -> None:
        if "unused_patches" in self.quirks:
            self.unused_patches = PatchEmbed(dim, dim)
        if "unused_attention" in self.quirks:
            self.unused_attention = NormedAttention(dim, heads)
        if "unused_positions" in self.quirks:
            names = ("rel_emb_h", "rel_emb_w")
            tables = {name: nn.Parameter(torch.zeros(OFFSETS, dim // heads // 2)) for name in names}
            self.unused_positions = nn.ParameterDict(tables)

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Prefixes of parameters that reach no output."""
        return tuple(ours for quirk, (_, ours) in UNUSED.items() if quirk in self.quirks)

    @property
    def own_parameters(self) -> dict[str, tuple[str, ...]]:
        """Where the decoder doesn't mix tasks, what it adds to the keys of one task's tokens is its own."""
        if "decoder_over_batch" not in self.quirks:
            return {}
        return {task: (f"key_positions.{task}",) for task in self.tasks}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        height, width = features[0].shape[-2:]
        x = to_tokens(self.projections(features)).unflatten(2, (len(self.tasks), -1))  # (B, N, T, C)
        normed = F.layer_norm(x, x.shape[-1:])
        p = self.encoder(self._of_all_tasks(self.tokens), self._positions(self.query_positions), normed)
        p = self.interaction(p)  # (B, T, M, C)
        y = self._decoded(x, normed, p)  # (B, N, T, C)
        final = {}
        for task, y_t in zip(self.tasks, y.unbind(2), strict=True):
            refined = self.bottleneck[task](to_map(y_t, (height, width)))
            final[task] = resize(self.final_logits[task](refined), size)
        return Outputs(final)

    def _decoded(self, x: Tensor, normed: Tensor, tokens: Tensor) -> Tensor:
        """The decoder's answer; pixels don't see each other, so that parts of them do where memory counts."""
        positions = self._positions(self.key_positions)
        if torch.is_grad_enabled() or x.is_meta:
            answer: Tensor = self.decoder(x, normed, tokens, positions)
            return answer
        parts = zip(x.split(PIXELS, 1), normed.split(PIXELS, 1), strict=True)
        return torch.cat([self.decoder(a, b, tokens, positions) for a, b in parts], dim=1)

    def module_macs(self, inputs: tuple[Tensor], output: Outputs, counted: Mapping[str, int]) -> int:
        """See `mtlbench.profiling`: published code runs the patch embedding on every task's pixels."""
        macs = sum(counted.values())
        if "unused_patches" in self.quirks:
            batch, _, *size = inputs[0].shape
            stride = self.unused_patches.patch * self.backbone.strides[0]
            patches = batch * len(self.tasks) * math.prod(math.ceil(n / stride) for n in size)
            macs += conv_macs(self.unused_patches.projection, patches)
            macs += norm_macs(self.unused_patches.norm, patches)
        return macs

    def _of_all_tasks(self, learnt: nn.ParameterDict) -> Tensor:
        """(T, ...); a `ParameterDict` has an order of its own."""
        return torch.cat([learnt[task] for task in self.tasks])

    def _positions(self, positions: nn.ParameterDict) -> Tensor:
        """What is added to the tokens, the same for each head: (T, M, C)."""
        heads = self.encoder.attention.heads
        return self._of_all_tasks(positions).expand(-1, -1, heads, -1).flatten(2)


def _rules(quirks: Iterable[str]) -> tuple[Rule, ...]:
    """Dead parameters go where they have a place, else nowhere."""
    unused = (Rule(theirs, ours if quirk in quirks else None) for quirk, (theirs, ours) in UNUSED.items())
    return (*unused, *RULES)


def _learnt(tasks: Iterable[str], *shape: int) -> nn.ParameterDict:
    return nn.ParameterDict({t: nn.init.trunc_normal_(torch.empty(shape), std=0.02) for t in tasks})

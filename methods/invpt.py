"""InvPT: a transformer decoder whose scales become finer, shared by all tasks.

Paper: Ye, Xu, "Inverted Pyramid Multi-task Transformer for Dense Scene Understanding", ECCV 2022. Each task
gets coarse features and a preliminary prediction; three stages enlarge all tasks' maps together, each twice
as fine and half as wide as the one before, and in each every task attends to all tasks:

    F_t   = preliminary_t(down(F_4)),  P_t = logits_t(F_t)       at 1/32; P_t is supervised as well
    X^0_t = mix_t([F_t; P_t])
    X^s, A^s = stage_s(X^(s-1), skip_s(backbone), A^(s-1))       s = 0, 1, 2 at 1/32, 1/16, 1/8
    Z_t   = sum_s up(reduce_s,t(LN_s([X^s_1; ...; X^s_T])_t))    at 1/4
    y_t   = up(logits_t(ReLU(BN(conv3x3_t(Z_t)))))

Variants: `corrected` (default) leaves out what the released code has without using it; `published` has it
too. Predictions are the same, there is no other difference.

Departures from the published code, in all variants: images of any size (it needs multiples of 64, where the
results agree: maps are resized to the size that is needed next), one task alone, and

* pyramid backbones. The authors did not release their Swin networks, and none that the published structure
  allows has their number of parameters (60.14 and 292.7 million with Swin-T and Swin-L). *Our reading*: the
  coarsest map is taken as it is, skips are 3x3 convolutions of the maps at strides 16 and 8, and the first
  preliminary convolution already reduces the width to `embed_dim`. With `embed_dim` 384 for Swin-T and 512
  for Swin-L that makes 66.9 and 275.2 million parameters, unused ones included, and at 448x576 the
  multiply-accumulates that the paper gives (162.5 and 417.3 G) within 1.5 %.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.profiling import conv_macs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.checks import check_numbers
from .layers.inverted_pyramid import InvertedPyramid, SumBlock
from .layers.unread import without_gradient
from .layers.up_transformer import ConvBlock

STAGES = 3
COARSEST = 32
"""Stride of the first stage."""


class InvPT(Method):
    """InvPT: three stages of attention among all tasks at growing resolution.

    Args:
        backbone: gives the features; a plain ViT for the published decoder, else our reading (see above).
        tasks: what to predict.
        variant: `corrected`, or `published` with the released code's unused layers.
        without: quirks of the variant to leave out.
        embed_dim: width of the preliminary features.
        extra_channels: how much wider the first stage is (`PRED_OUT_NUM_CONSTANT`); the sum is halved twice.
        heads: of the attention.
        mlp_ratio: width of the stages' MLPs, in multiples of their width.
        downsample: how much coarser the first stage is than the last feature map
            (`mtt_resolution_downsample_rate`); None: what brings it to stride 32.

    Quirks:
        unused_skip: a skip connection for the first stage, which takes none; corrected: left out.
        unused_reduction: layers that reduce the first stage's maps, which are summed without; corrected: left
            out.
        unused_norm: a LayerNorm that nothing passes; corrected: left out.
        unused_fusion: a layer that gives the first stage's attention a message, where there is none yet;
            corrected: left out.
    """

    paper = "Ye and Xu, ECCV 2022"
    code = "after the released code, prismformore/Multi-Task-Transformer; our reading on all but plain ViTs"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        embed_dim: int = 512,
        extra_channels: int = 64,
        heads: int = 2,
        mlp_ratio: int = 4,
        downsample: int | None = None,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        _check_options(embed_dim, extra_channels, heads=heads, mlp_ratio=mlp_ratio, downsample=downsample)
        self.plain = len(set(backbone.strides)) == 1
        self.downsample = downsample or max(COARSEST // backbone.strides[-1], 1)
        self.published_keys = _rules(tasks, self.quirks)
        self.dims = dims = [(embed_dim + extra_channels) // 2**i for i in range(STAGES)]
        last = backbone.channels[-1]
        width = last if self.plain else embed_dim

        def per_task(layer: Callable[[int], nn.Module]) -> nn.ModuleDict:
            """A layer for each task, made for its number of channels."""
            return nn.ModuleDict({name: layer(task.channels) for name, task in tasks.items()})

        self.preliminary = per_task(
            lambda _: nn.Sequential(ConvBlock(last, width), ConvBlock(width, embed_dim))
        )
        self.preliminary_logits = per_task(lambda k: nn.Conv2d(embed_dim, k, 1))
        self.mix = per_task(lambda k: nn.Conv2d(embed_dim + k, dims[0], 1))
        first = 0 if "unused_skip" in self.quirks else 1
        self.skips = nn.ModuleDict({str(i): self._skip(i) for i in range(first, STAGES)})
        self.pyramid = InvertedPyramid(
            tuple(tasks), dims, heads=heads, mlp_ratio=mlp_ratio, quirks=self.quirks
        )
        self.project = per_task(lambda _: SumBlock(dims[0]))
        self.final_logits = per_task(lambda k: nn.Conv2d(dims[0], k, 1))
        for name, parameter in self.project.named_parameters():
            if name.endswith("0.weight"):
                nn.init.trunc_normal_(parameter, std=0.02)

    def _source(self, stage: int) -> int:
        """Which feature map a stage takes: the finest stage the finest one, or that of stride 8."""
        return STAGES - 1 - stage + (0 if self.plain else 1)

    def _skip(self, stage: int) -> nn.Module:
        """What brings a feature map to a stage's width and, where one step does it, to its size."""
        have = self.backbone.strides[self._source(stage)]
        wanted = self.backbone.strides[-1] * self.downsample // 2**stage
        channels, dim = self.backbone.channels[self._source(stage)], self.dims[stage]
        if have > wanted:
            return nn.ConvTranspose2d(channels, dim, 3, stride=2, padding=1, output_padding=1)
        return nn.Conv2d(channels, dim, 3, stride=max(wanted // have, 1), padding=1)

    @property
    def task_blocks(self) -> dict[str, tuple[int, Sequence[str]]]:
        """LayerNorms over the channels of all tasks."""
        prefixes = ("pyramid.norms.", "pyramid.unused_norm.")
        return {
            name: (0, list(self.tasks)) for name, _ in self.named_parameters() if name.startswith(prefixes)
        }

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Names, or how they begin, of parameters that reach no output, also in the backbone."""
        read = [self._source(i) for i in range(STAGES) if i > 0] + [-1]
        own = tuple(prefix for quirk, prefix in UNUSED.items() if quirk in self.quirks)
        return own + tuple(f"backbone.{name}" for name in without_gradient(self.backbone, read))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), preliminary ones at 1/32."""
        z, preliminary = self.task_features(features)
        final = {t: resize(self.final_logits[t](z[t]), size) for t in self.tasks}
        return Outputs(final, {"inter_preds": preliminary})

    def task_features(self, features: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Features (B, C_i, h_i, w_i) -> each task's (B, C_0, H/4, W/4), preliminary predictions at 1/32."""
        x = features[-1]
        x = resize(x, (-(-x.shape[-2] // self.downsample), -(-x.shape[-1] // self.downsample)))
        f = {t: self.preliminary[t](x) for t in self.tasks}
        preliminary = {t: self.preliminary_logits[t](f[t]) for t in self.tasks}
        mixed = {t: self.mix[t](torch.cat([f[t], preliminary[t]], dim=1)) for t in self.tasks}
        skips = [self.skips[str(i)](features[self._source(i)]) for i in range(1, STAGES)]
        z, finest = self.pyramid(mixed, [None, *skips])
        return {t: self.project[t](z[t], finest) for t in self.tasks}, preliminary

    def module_macs(self, inputs: tuple[Tensor], output: Outputs, counted: Mapping[str, int]) -> int:
        """See `mtlbench.profiling`: released code does compute the skip connection that it doesn't use."""
        total = sum(counted.values())
        if "unused_skip" not in self.quirks:
            return total
        stride = self.backbone.strides[self._source(0)]
        images, _, height, width = inputs[0].shape
        pixels = images * -(-height // stride) * -(-width // stride)
        return total + conv_macs(cast(nn.Conv2d, self.skips["0"]), pixels)


UNUSED = {
    "unused_skip": "skips.0.",
    "unused_reduction": "pyramid.reduce.0.",
    "unused_norm": "pyramid.unused_norm.",
    "unused_fusion": "pyramid.stages.0.attention.fuse.",
}
"""Quirk -> where its parameters stand."""


DECODER = r"(?:multi_task_decoder\.)?"
INVPT = DECODER + r"invpt\."
STAGE = INVPT + r"invpt_stages\.(\d)\."
BLOCK = STAGE + r"blocks\.0\."
OURS = r"pyramid.stages.\1."
DROPPED = {
    "unused_skip": DECODER + r"scale_embed\.2\.",
    "unused_reduction": INVPT + r"redu_chan\.0\.",
    "unused_norm": INVPT + r"norm_mt\.",
    "unused_fusion": INVPT + r"invpt_stages\.0\.blocks\.0\.attn\.fuse_attn\.",
}
RULES = (
    Rule(DECODER + r"scale_embed\.0\.", "skips.2."),
    Rule(DECODER + r"scale_embed\.1\.", "skips.1."),
    Rule(DECODER + r"scale_embed\.2\.", "skips.0."),
    Rule(DECODER + r"preliminary_decoder\.(\w+)\.(\d)\.conv\.", r"preliminary.\1.\2.0."),
    Rule(DECODER + r"preliminary_decoder\.(\w+)\.(\d)\.bn1\.", r"preliminary.\1.\2.1."),
    Rule(DECODER + r"intermediate_head\.", "preliminary_logits."),
    Rule(INVPT + r"mix_proj\.(\w+)\.0\.", r"mix.\1."),
    Rule(INVPT + r"norm_mts\.", "pyramid.norms."),
    Rule(INVPT + r"norm_mt\.", "pyramid.unused_norm."),
    Rule(INVPT + r"mt_proj\.", "project."),
    Rule(BLOCK + r"attn\.fuse_attn\.", OURS + "attention.fuse."),
    Rule(BLOCK + r"attn\.(proj\w*\.)", OURS + r"attention.\2"),
    Rule(BLOCK + r"mlp\.fc1\.", OURS + "mlp.0."),
    Rule(BLOCK + r"mlp\.fc2\.", OURS + "mlp.2."),
    Rule(BLOCK + r"norm", OURS + "norm"),
    Rule(r"heads\.(\w+)\.linear_pred\.", r"final_logits.\1."),
)


def _rules(tasks: Iterable[str], quirks: frozenset[str]) -> tuple[Rule, ...]:
    """Published names, of the whole network or of the decoder alone, -> ours."""
    dropped = [Rule(pattern, None) for quirk, pattern in DROPPED.items() if quirk not in quirks]
    return (*dropped, *RULES, *(rule for i, task in enumerate(tasks) for rule in _rules_of_task(i, task)))


def _rules_of_task(i: int, task: str) -> Iterator[Rule]:
    """Inside the pyramid the published code counts the tasks, we name them."""
    reduce = INVPT + rf"redu_chan\.(\d)\.{i}\."
    yield Rule(reduce + "weight$", rf"pyramid.reduce.\1.{task}.weight", lambda x: x.flatten(1))
    yield Rule(reduce + "bias$", rf"pyramid.reduce.\1.{task}.bias")
    for published, ours in (("1", "0.0"), ("2", "0.1"), ("4", "1.0"), ("5", "1.1")):
        yield Rule(STAGE + rf"patch_embed\.{i}\.proj\.{published}\.", OURS + f"embed.{task}.{ours}.")
    for published, ours in (("conv", "0"), ("bn", "1")):
        query = BLOCK + rf"attn\.conv_proj_q\.{i}\.{published}\."
        yield Rule(query, OURS + f"attention.queries.{task}.{ours}.")


def _check_options(embed_dim: int, extra_channels: int, **counts: int | None) -> None:
    """Raise MtlbenchError for what can't be built, naming the option."""
    given = {name: value for name, value in counts.items() if value is not None}
    check_numbers("invpt", embed_dim=embed_dim, **given)
    check_numbers("invpt", least=0, extra_channels=extra_channels)
    narrowest = 2 ** (STAGES - 1) * (counts["heads"] or 1)
    if (embed_dim + extra_channels) % narrowest:
        raise MtlbenchError(
            "`embed_dim` + `extra_channels` of invpt must be a multiple of 4 times `heads`, "
            f"{narrowest}, got {embed_dim} + {extra_channels}"
        )

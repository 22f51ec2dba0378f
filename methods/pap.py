"""PAP: affinities of positions, found for each task and shared by all, spread each task's features.

Paper: Zhang et al., "Pattern-Affinitive Propagation across Depth, Surface Normal and Semantic Segmentation",
CVPR 2019. Our reading of the paper: its authors released no code.

    X   = fuse([F_1; up(F_2); up(F_3); up(F_4)])        pointwise convolution, batch norm, ReLU
    f_t = bottlenecks_t(X),  y'_t = up(logits'_t(f_t))  initial prediction
    A_t = conv1x1_t(f_t),  M_t = affinities of A_t      positions x positions, rows sum to 1
    h_t = beta M^_t h_t + (1 - beta) A_t, K times       M^_t = sum over s of a_ts M_s, a_t: softmax of weights
    y_t = up(logits_t(bottlenecks_t(h_t)))              final prediction

Variants:

* `corrected` (default): our reading. Affinities are a softmax of scaled products. Positions take from those
  of every fourth row and column (`key_stride`); the paper, too, samples them where maps are large.
* `ema`: the re-implementation in the code of EMA-Net (Armanfard-Lab/EMA-Net), not by PAP's authors, number
  for number: products of features with each channel normalised over the positions, columns (not rows) sum
  to 1, at a quarter of the image's size.
* `table1`: our reading of the row in Table I of the DeGMix paper, whose code was not published: parameters
  (4.54 M) and MACs (53.0 G at 425x560) agree. One 3x3 convolution, batch norm and ReLU, a quarter of the
  features' channels wide, in place of fuse and bottlenecks; convolutions to A as wide, without bias; every
  second row and column, K = 2; no bottlenecks after the propagation.

The paper has affinities at three scales of a decoder that goes on from coarse to fine; here is one, at the
size of the finest map, as in both others.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.affinity import ColumnPropagation, Propagation, SampledPropagation
from .layers.checks import check_numbers
from .layers.conv import ConvBNReLU, initialise_logits
from .layers.hrnet_head import fuse_layer
from .layers.residual import bottleneck

CHANNELS = 256
STEPS, STEPS_TABLE1 = 3, 2
STRIDE, STRIDE_TABLE1 = 4, 2
EMA_SCALE = 4
"""Pixels of the image for each position, along one side, in `ema`."""


class PAP(Method):
    """PAP: features spread along affinities of positions that all tasks found. Our reading of the paper.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        variant: `corrected`, `ema` (a third party's code) or `table1` (a layout with the counts of Table I).
        channels: of each task's features; null: 256, and for `table1` a quarter of the backbone's.
        steps: K, how often features are spread; null: 3, and for `table1` 2.
        beta: share of what a step brings.
        key_stride: features are taken from every so many-th row and column; null: 4, for `table1` 2; `ema`
            takes them from all.
    """

    paper = "Zhang et al., CVPR 2019"
    code = "our reading of the paper, no code is public; `ema`: after a third party's, Armanfard-Lab/EMA-Net"
    variants: ClassVar = {"ema": (), "table1": ()}
    published_keys = (
        Rule(r"backbone\.0\.", "backbone."),
        Rule(r"backbone\.1\.last_layer\.", "fuse."),
        Rule(r"initial_task_prediction_heads\.layers\.", "initial."),
        Rule(r"initial_task_prediction_heads\.conv_out\.", "initial_logits."),
        Rule(r"affinity_learning_module\.conv\.", "affinity."),
        Rule(r"diffusion_module\.weights\.", "propagation.weights."),
        Rule(r"heads\.(\w+)\.2\.", r"final_logits.\1."),
        Rule(r"heads\.", "refine."),
    )

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "ema", "table1"] = "corrected",
        channels: int | None = None,
        steps: int | None = None,
        beta: float = 0.05,
        key_stride: int | None = None,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant)
        light, features = variant == "table1", sum(backbone.channels)
        c = channels or (max(features // 4, 1) if light else CHANNELS)
        _check(channels=c if channels is None else channels, multiple=1 if light else 8, beta=beta)
        propagation = self._propagation(steps, beta, key_stride)
        layers = self._like_table1 if light else self._with_bottlenecks
        layers(features, c)
        self.propagation = propagation

    @property
    def task_blocks(self) -> dict[str, tuple[int, list[str]]]:
        """Each task's weights of all tasks' affinities."""
        return {f"propagation.weights.{t}": (0, list(self.tasks)) for t in self.tasks}

    def _with_bottlenecks(self, features: int, c: int) -> None:
        half = c // 2
        self.fuse: nn.Module = fuse_layer(features)
        self.initial = nn.ModuleDict(
            {t: nn.Sequential(bottleneck(features, c), bottleneck(c, c)) for t in self.tasks}
        )
        self.initial_logits = self._logits(c)
        self.affinity = nn.ModuleDict({t: nn.Conv2d(c, half, 1) for t in self.tasks})
        self.refine = nn.ModuleDict(
            {t: nn.Sequential(bottleneck(half, half), bottleneck(half, half)) for t in self.tasks}
        )
        self.final_logits = self._logits(half)

    def _like_table1(self, features: int, c: int) -> None:
        self.fuse = nn.Identity()  # the convolutions take all maps
        self.initial = nn.ModuleDict({t: ConvBNReLU(features, c, 3) for t in self.tasks})
        self.initial_logits = self._logits(c)
        self.affinity = nn.ModuleDict({t: nn.Conv2d(c, c, 1, bias=False) for t in self.tasks})
        self.refine = nn.ModuleDict({t: nn.Identity() for t in self.tasks})
        self.final_logits = self._logits(c)
        initialise_logits(self)

    def _propagation(self, steps: int | None, beta: float, key_stride: int | None) -> Propagation:
        light = self.variant == "table1"
        steps = (STEPS_TABLE1 if light else STEPS) if steps is None else steps
        stride = (STRIDE_TABLE1 if light else STRIDE) if key_stride is None else key_stride
        check_numbers("pap", steps=steps, key_stride=stride)
        if self.variant != "ema":
            return SampledPropagation(self.tasks, steps=steps, beta=beta, stride=stride)
        if key_stride not in (None, 1):
            raise MtlbenchError(
                f"`key_stride` of pap must be 1 or null with `variant: ema`, got {key_stride}"
            )
        return ColumnPropagation(self.tasks, steps=steps, beta=beta)

    def _logits(self, channels: int) -> nn.ModuleDict:
        return nn.ModuleDict({t: nn.Conv2d(channels, task.channels, 1) for t, task in self.tasks.items()})

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_t, h_0, w_0)."""
        x = self.fuse(features)  # (B, C, h, w)
        found = {t: self.initial[t](x) for t in self.tasks}  # f_t
        initial = {t: self.initial_logits[t](f) for t, f in found.items()}  # y'_t
        maps = {t: self.affinity[t](f) for t, f in found.items()}  # A_t
        if self.variant == "ema":
            quarter = [max(side // EMA_SCALE, 1) for side in size]
            maps = {t: resize(a, quarter) for t, a in maps.items()}
        spread = self.propagation(maps)  # h_t
        final = {t: resize(self.final_logits[t](self.refine[t](h)), size) for t, h in spread.items()}
        return Outputs(final, {"initial": initial})


def _check(*, channels: int, multiple: int, beta: float) -> None:
    if channels < 1 or channels % multiple:
        raise MtlbenchError(
            f"`channels` of pap must be a multiple of {multiple}, at least {multiple}, got {channels}"
        )
    if not 0 < beta <= 1:
        raise MtlbenchError(f"`beta` of pap must be in (0, 1], got {beta}")

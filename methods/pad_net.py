"""PAD-Net: intermediate predictions of all tasks, and features that are distilled between them.

Paper: Xu et al., "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network for Simultaneous Depth
Estimation and Scene Parsing", CVPR 2018. After the code released with MTI-Net (Vandenhende et al., ECCV
2020), which puts it on HRNet:

    X   = fuse([F_1; up(F_2); up(F_3); up(F_4)])               pointwise convolution, batch norm, ReLU
    f_a = bottlenecks_a(X),  y'_a = up(logits'_a(f_a))         initial prediction of every task a
    o_t = f_t + sum over a != t of G (W_{t<-a} * f_a)          distillation (module C), gate G
    y_t = up(logits_t(bottlenecks_t(o_t)))                     final prediction of every main task t

Variants:

* `corrected` (default): the gate as in the paper, G = sigma(V_t * f_t), shared by all that reaches t.
* `published`: the released code, number for number: G = sigma(V_{t<-a} * f_a), of the source, one for each
  pair.
* `table1`: our reading of the row in Table I of the DeGMix paper, whose code was not published: parameters
  (5.02 M) and MACs (25.2 G at 425x560) agree. One 3x3 convolution, batch norm and ReLU, a quarter of the
  features' channels wide, in place of fuse and bottlenecks; messages with batch norm; pointwise gates of the
  target; no bottlenecks after the distillation.

In all variants as released, and unlike the paper: HRNet's four maps instead of a front end with
deconvolutions for each task; of the modules A, B and C only C. One task alone gets no messages (the released
code fails).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.auxiliary import main_tasks
from .layers.conv import ConvBNReLU, initialise_logits
from .layers.distillation import Distillation, SourceGated, TargetGated
from .layers.hrnet_head import fuse_layer
from .layers.residual import bottleneck

CHANNELS = 256
PAIR = r"multi_modal_distillation\.self_attention\.(\w+)\.(\w+)\."


class PadNet(Method):
    """PAD-Net: initial predictions of all tasks, gated messages between their features, final predictions.

    Args:
        backbone: gives the features.
        tasks: what to predict, auxiliary tasks included.
        variant: `corrected`, `published` (released code) or `table1` (a layout with the counts of Table I).
        without: quirks of the variant to leave out.
        auxiliary: those among the tasks that have initial predictions only, and send messages.
        channels: of each task's features; null: 256, and for `table1` a quarter of the backbone's.

    Quirks:
        gate_from_source: every message has a gate of its own, computed from its source's features; corrected:
            one gate for each target, computed from the target's features.
    """

    paper = "Xu et al., CVPR 2018"
    code = "after the code released with MTI-Net, SimonVandenhende/Multi-Task-Learning-PyTorch"
    variants: ClassVar = {"table1": ()}
    published_keys = (
        Rule(r"backbone\.0\.", "backbone."),
        Rule(r"backbone\.1\.last_layer\.", "fuse."),
        Rule(r"initial_task_prediction_heads\.layers\.", "initial."),
        Rule(r"initial_task_prediction_heads\.conv_out\.", "initial_logits."),
        Rule(PAIR + r"attention\.0\.", r"distillation.\1.messages.\2.gate."),
        Rule(PAIR + r"conv\.", r"distillation.\1.messages.\2.message."),
        Rule(r"heads\.(\w+)\.2\.", r"final_logits.\1."),
        Rule(r"heads\.", "refine."),
    )

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published", "table1"] = "corrected",
        without: tuple[str, ...] = (),
        auxiliary: tuple[str, ...] = (),
        channels: int | None = None,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        self.main = main_tasks(tasks, auxiliary, method="pad_net")
        layers = self._like_table1 if variant == "table1" else self._as_released
        layers(sum(backbone.channels), channels)

    def _as_released(self, features: int, channels: int | None) -> None:
        c = _checked(CHANNELS if channels is None else channels, multiple=4)
        gated = SourceGated if "gate_from_source" in self.quirks else TargetGated
        self.fuse: nn.Module = fuse_layer(features)
        self.initial = nn.ModuleDict(
            {a: nn.Sequential(bottleneck(features, c), bottleneck(c, c)) for a in self.tasks}
        )
        self.initial_logits = self._logits(self.tasks, c)
        self.distillation = Distillation({t: gated(t, self.tasks, c) for t in self.main})
        self.refine = nn.ModuleDict({t: nn.Sequential(bottleneck(c, c), bottleneck(c, c)) for t in self.main})
        self.final_logits = self._logits(self.main, c)

    def _like_table1(self, features: int, channels: int | None) -> None:
        c = _checked(max(features // 4, 1) if channels is None else channels)
        self.fuse = nn.Identity()  # the convolutions take all maps
        self.initial = nn.ModuleDict({a: ConvBNReLU(features, c, 3) for a in self.tasks})
        self.initial_logits = self._logits(self.tasks, c)
        self.distillation = Distillation(
            {t: TargetGated(t, self.tasks, c, gate_kernel=1, norm=True) for t in self.main}
        )
        self.refine = nn.ModuleDict({t: nn.Identity() for t in self.main})
        self.final_logits = self._logits(self.main, c)
        initialise_logits(self)

    def _logits(self, tasks: Sequence[str] | Tasks, channels: int) -> nn.ModuleDict:
        return nn.ModuleDict({t: nn.Conv2d(channels, self.tasks[t].channels, 1) for t in tasks})

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_a, h_0, w_0)."""
        x = self.fuse(features)  # (B, C, h, w)
        found = {a: self.initial[a](x) for a in self.tasks}  # f_a
        initial = {a: self.initial_logits[a](f) for a, f in found.items()}  # y'_a
        distilled = self.distillation(found)  # o_t
        final = {t: resize(self.final_logits[t](self.refine[t](distilled[t])), size) for t in self.main}
        return Outputs(final, {"initial": initial})


def _checked(channels: int, *, multiple: int = 1) -> int:
    if channels < 1 or channels % multiple:
        raise MtlbenchError(
            f"`channels` of pad_net must be a multiple of {multiple}, at least {multiple}, got {channels}"
        )
    return channels

"""The multi-task baseline: one shared backbone, one small convolutional head per task.

    X   = [F_1; up(F_2); up(F_3); up(F_4)]          all levels at the finest one's size

The head of each task t is one of

* `fcn`: y_t = up(logits_t(ReLU(BN(conv3x3_t(X))))), the `FCNHead` of ATRC (Bruggemann et al., "Exploring
  Relational Context for Multi-Task Dense Prediction", ICCV 2021), which the papers of that code family call
  "multi-task baseline";
* `hrnet`: y_t = up(logits_t(ReLU(BN(conv1x1_t(X))))), the convolution as wide as X; and
* `deeplab`: y_t = up(DeepLab_t(F_4)) with ASPP rates 12, 24, 36, for dilated ResNets; both are baselines of
  the code of MTI-Net (Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task
  Learning", ECCV 2020);
* `mtlora`: as `hrnet`, of maps that each task first narrows to 18, 36, 72 and 144 channels, and four times as
  wide, of MTLoRA (Agiza et al., "MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning",
  CVPR 2024), where the backbone is a Swin with `taps: after_merging`.

Departures from the published code: none, but that DeepLab's image-level branch uses running statistics in a
training step of one image, which the published code can't take.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.registry import unknown
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.conv import ConvBNReLU, initialise_logits
from .layers.deeplab import DeepLabHead
from .layers.hrnet_head import HRNetHead
from .layers.mtlora_head import WIDTHS, MTLoRAHead

MTLORA_KEYS = (
    Rule(r"downsampler\.(\w+)\.downsample_(\d)\.", r"decoders.\1.downsample.\2."),
    Rule(r"decoders\.decoders\.", "decoders."),
)
HEADS = ("fcn", "hrnet", "deeplab", "mtlora")


class MultiTask(Method):
    """Multi-task baseline: one shared backbone and a convolutional head for each task.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        head: `fcn` (of ATRC), `hrnet` or `deeplab` (of MTI-Net) or `mtlora`; `deeplab` reads the coarsest map
            alone.
        head_channels: width of `fcn` heads; None: a quarter of the features' (published). 96 reproduces the
            parameter counts of the Swin baselines in Table I of the DeGMix paper. Of `mtlora` heads the
            widths of the four maps once narrowed; None: 18, 36, 72 and 144 (published).
    """

    paper = "Bruggemann et al., ICCV 2021; Vandenhende et al., ECCV 2020"
    code = "the baselines in the released code, brdav/atrc and SimonVandenhende/Multi-Task-Learning-PyTorch"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        head: Literal["fcn", "hrnet", "deeplab", "mtlora"] = "fcn",
        head_channels: int | tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(backbone, tasks)
        _check_options(head, head_channels, len(backbone.channels))
        self.head = head
        channels = sum(backbone.channels)
        if head == "fcn":
            width = head_channels if isinstance(head_channels, int) else max(channels // 4, 1)
            self.bottleneck = nn.ModuleDict({t: ConvBNReLU(channels, width, 3) for t in tasks})
            self.final_logits = nn.ModuleDict(
                {t: nn.Conv2d(width, task.channels, 1) for t, task in tasks.items()}
            )
            initialise_logits(self)
            return
        if head == "mtlora":
            widths = head_channels if isinstance(head_channels, tuple) else WIDTHS
            make: Callable[[int], nn.Module] = partial(MTLoRAHead, backbone.channels, widths=widths)
            self.published_keys = MTLORA_KEYS
        elif head == "hrnet":
            make = partial(HRNetHead, channels)
        else:
            make = partial(DeepLabHead, backbone.channels[-1])
        self.decoders = nn.ModuleDict({t: make(task.channels) for t, task in tasks.items()})
        if len(tasks) == 1 and head != "mtlora":  # published networks of one task have one `decoder`
            self.published_keys = (Rule(r"decoder\.", f"decoders.{next(iter(tasks))}."),)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        return self.decode_each(dict.fromkeys(self.tasks, features), size)

    def decode_each(self, features: Mapping[str, list[Tensor]], size: tuple[int, int]) -> Outputs:
        """Each task's own features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        return Outputs({t: resize(self._logits(t, maps), size) for t, maps in features.items()})

    def _logits(self, task: str, features: list[Tensor]) -> Tensor:
        """Features (B, C_i, h_i, w_i) -> (B, K, h_0, w_0)."""
        x = features[-1] if self.head == "deeplab" else features
        logits: Tensor = (
            self.final_logits[task](self.bottleneck[task](x))
            if self.head == "fcn"
            else self.decoders[task](x)
        )
        return logits


def _check_options(head: str, head_channels: int | tuple[int, ...] | None, maps: int) -> None:
    if head not in HEADS:
        raise MtlbenchError(unknown("`head`", head, HEADS))
    if head_channels is None:
        return
    if head not in ("fcn", "mtlora"):
        raise MtlbenchError(
            f"`head_channels` goes with `head: fcn` or `mtlora`; the width of `{head}` is fixed"
        )
    widths = head_channels if isinstance(head_channels, tuple) else (head_channels,)
    if isinstance(head_channels, int) != (head == "fcn") or (head == "mtlora" and len(widths) != maps):
        wanted = "one number" if head == "fcn" else f"{maps} numbers, one for each map"
        raise MtlbenchError(f"`head_channels` of `{head}` must be {wanted}, got {head_channels}")
    if min(widths) < 1:
        raise MtlbenchError(f"`head_channels` must be >= 1 or null, got {head_channels}")

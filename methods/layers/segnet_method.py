"""What all methods on SegNet share: they bring their own network, which sees images as they are."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone, pad_to_multiple
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs, laid_out
from mtlbench.profiling import conv_macs
from mtlbench.published import Rule
from mtlbench.tasks import Tasks

from .checks import check_numbers
from .segnet import DIVISOR, WIDTHS

PREFIX = r"(?:segnet\.)?"
"""Before all keys in the code of Nash-MTL (Navon et al., ICML 2022)."""
LOG_SIGMAS = 3


class SegNetMethod(Method):
    """Each task's map from `features`, and of it the prediction: a 3x3 and a pointwise convolution.

    Sides of images are padded with zeros to multiples of 32 and predictions cropped.
    """

    needs_backbone: ClassVar[bool] = False

    def __init__(self, tasks: Tasks, widths: Sequence[int], *, method: str) -> None:
        super().__init__(cast(Backbone, None), tasks)
        if len(widths) != len(WIDTHS):
            raise MtlbenchError(f"`widths` of {method} must be {len(WIDTHS)} numbers, got {list(widths)}")
        for width in widths:
            check_numbers(method, widths=width)

    def add_predictions(self, channels: int) -> None:
        """Add what makes predictions of maps with so many channels, and what released code adds unused."""
        self.predictions = nn.ModuleDict(
            {t: Prediction(channels, task.channels) for t, task in self.tasks.items()}
        )
        if "unused_weights" in self.quirks:
            self.logsigma = nn.Parameter(torch.full((LOG_SIGMAS,), -0.5))

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """`logsigma`: what trains it is a balancer's here."""
        return ("logsigma",) if "unused_weights" in self.quirks else ()

    def forward(self, images: Tensor) -> Outputs:
        """RGB images (B, 3, H, W) in [0, 1] -> predictions (B, K_t, H, W)."""
        height, width = images.shape[-2:]
        maps = self.features(pad_to_multiple(laid_out(images), DIVISOR))
        return Outputs({t: predict(maps[t])[..., :height, :width] for t, predict in self.predictions.items()})

    @abstractmethod
    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W), sides multiples of 32 -> task -> (B, C, H, W)."""

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, 3, H, W) -> [0, 1], neither mean nor deviation changed, as published."""
        return images.float() / 255


class Prediction(nn.Sequential):
    """A 3x3 convolution and a pointwise one, with nothing between them: where it is less work, as one.

        W_2 (W_1 * x + b_1) + b_2 = (W_2 W_1) * x + (W_2 b_1 + b_2)

    Args:
        channels: of the map.
        outputs: of the prediction.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W)."""
        around, pointwise = (cast(nn.Conv2d, layer) for layer in self)
        if pointwise.out_channels >= pointwise.in_channels:
            logits: Tensor = pointwise(around(x))
            return logits
        assert around.bias is not None
        assert pointwise.bias is not None
        mix = pointwise.weight.flatten(1)  # (K, C)
        weight = (mix @ around.weight.flatten(1)).unflatten(1, around.weight.shape[1:])
        return F.conv2d(x, weight, torch.addmv(pointwise.bias, mix, around.bias), padding=1)

    def module_macs(self, inputs: tuple[Any, ...], output: Tensor, counted: Mapping[str, int]) -> int:
        """Those of the two convolutions."""
        pixels = output.numel() // output.shape[1]
        return sum(conv_macs(cast(nn.Conv2d, layer), pixels) for layer in self)


def published_predictions(tasks: Iterable[str]) -> tuple[Rule, ...]:
    """Rules for the layers that predict, which released code counts from 1; where there is one, without."""
    names = tuple(tasks)
    counted = tuple(
        Rule(rf"{PREFIX}pred_task{i}\.", f"predictions.{t}.") for i, t in enumerate(names, start=1)
    )
    return (*counted, Rule(rf"{PREFIX}pred_task\.", f"predictions.{names[0]}."))

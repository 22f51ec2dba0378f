"""NDDR-CNN: one network for each task, whose features are fused by a convolution after each stage.

Paper: Gao et al., "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative
Dimensionality Reduction", CVPR 2019. After the code released with the survey by Vandenhende et al.
("Multi-Task Learning for Dense Prediction Tasks", TPAMI 2021), repository
SimonVandenhende/Multi-Task-Learning-PyTorch:

    X_i  =  ReLU(BN(W_i [X_1; ...; X_T]))        after the stem and each stage, for every task i
    y_i  =  up(head_i(X_i^1, ..., X_i^4))

The convolution W_i is pointwise. Initially it is alpha times the identity on the channels of X_i, and beta
times on those of each other task.

Training starts from trained networks of each task alone (`start: single_task`): they become cells of their
own, which are the grid's baseline where that has the same head. As published, the head is `deeplab` and the
backbone a dilated ResNet; its stem is the first convolution with pooling, a stage is `layer1` ... `layer4`.
In an HRNet the branches of a stage are fused each by itself, in a Swin the embedded patches and the stages'
outputs, in a ViT the tokens (the class token, too) before its blocks and at its taps: our reading.

Variants: `corrected` (default) and `published` are the same, the released code, number for number; the
paper's shortcut from all fused features to the head is in neither. `table1` is our reading of the row in
Table I of the DeGMix paper, whose code was not published: its parameters (4,587,916 for HRNet-W18 and the
four tasks of NYUD-v2) and MACs (18.68 G at 425x560) agree. One shared backbone; the features of the heads,
before the logits, are fused once. It starts from no trained networks.

The released code gives the fusing layers a learning rate 100 times the others', which its schedule overwrites
before the first step: here, too, there is one learning rate.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlbench.published import Rule

from .joined_networks import JoinedNetworks
from .layers.batch_norm import BatchNorm2d

MOMENTUM = 0.05


class NDDRCNN(JoinedNetworks):
    """NDDR-CNN: a network for each task, with features fused by a pointwise convolution after each stage.

    Args:
        backbone: gives the features; a copy for each task.
        tasks: what to predict.
        variant: `corrected`, `published` (released code) or `table1` (a layout with the counts of Table I).
        without: quirks of the variant to leave out.
        head: of each task, as for `multi_task`; `deeplab` on a dilated ResNet is published.
        head_channels: width of `fcn` heads, as for `multi_task`.
        alpha: the share of its own features that a task starts with.
        beta: that of each other task's; null: so that the shares add up to 1 (published).
        start: the weights to start from: those of trained networks of each task, or the backbone's alone.
    """

    paper = "Gao et al., CVPR 2019"
    code = "after the code released with a survey, SimonVandenhende/Multi-Task-Learning-PyTorch"
    at_stem = True
    units_name = "nddr"
    published_keys = (
        *JoinedNetworks.published_heads,
        Rule(r"nddr\.conv\.layer\.", "nddr.stem.0."),
        Rule(r"nddr\.layer1_without_conv\.layer\.", "nddr.stage1.0."),
        Rule(r"nddr\.layer(\d)\.layer\.", r"nddr.stage\1.0."),
    )

    def unit(self, channels: int) -> nn.Module:
        return FusingUnit(tuple(self.tasks), channels, self.alpha, self.beta)

    @property
    def task_blocks(self) -> Mapping[str, tuple[int, Sequence[str]]]:
        fused = {name for name, module in self.named_modules() if isinstance(module, nn.Conv2d)}
        prefix = f"{self.units_name}."
        return {f"{n}.weight": (1, tuple(self.tasks)) for n in fused if n.startswith(prefix)}


class FusingUnit(nn.ModuleDict):
    """x_i = ReLU(BN(W_i [x_1; ...; x_T])) for every task i."""

    def __init__(self, tasks: tuple[str, ...], channels: int, alpha: float, beta: float) -> None:
        super().__init__({task: _fusing(len(tasks) * channels, channels) for task in tasks})
        shares = alpha * torch.eye(len(tasks)) + beta * (1 - torch.eye(len(tasks)))  # (T, T)
        with torch.no_grad():
            for layers, row in zip(self.values(), shares, strict=True):
                weight = torch.cat([share * torch.eye(channels) for share in row], dim=1)  # (C, T C)
                layers.get_parameter("0.weight").copy_(weight[..., None, None])

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, h, w) to the same."""
        x = torch.cat([maps[task] for task in self], dim=1)  # (B, T C, h, w)
        return {task: fuse(x) for task, fuse in self.items()}


def _fusing(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 1, bias=False)
    return nn.Sequential(convolution, BatchNorm2d(channels_out, momentum=MOMENTUM), nn.ReLU())

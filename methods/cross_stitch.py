"""Cross-stitch networks: one network for each task, whose features are mixed linearly after each stage.

Paper: Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016. After the code released with
the survey by Vandenhende et al. ("Multi-Task Learning for Dense Prediction Tasks", TPAMI 2021), repository
SimonVandenhende/Multi-Task-Learning-PyTorch:

    X_i  =  sum over j of  s_ij X_j            after each stage, for every task i
    y_i  =  up(head_i(X_i^1, ..., X_i^4))

Initially s_ii is alpha, all others are beta.

Training starts from trained networks of each task alone (`start: single_task`): they become cells of their
own, which are the grid's baseline where that has the same head. As published, the head is `deeplab` and the
backbone a dilated ResNet, where a stage is `layer1` ... `layer4`. In an HRNet the branches of a stage are
mixed each by itself, in a Swin the stages' outputs, in a ViT the tokens (the class token, too) at its taps:
our reading.

Variants:

* `corrected` (default): as in the paper's equation, s_ij is one number for each pair.
* `published`: the released code, number for number: a number for each channel of each pair.
* `table1`: our reading of the row in Table I of the DeGMix paper, whose code was not published: its
  parameters (4.52 M) and MACs (17.59 G at 425x560) agree. One shared backbone; the features of the heads,
  before the logits, are mixed once, channel by channel. It starts from no trained networks.

The released code gives the units a learning rate 100 times the others', which its schedule overwrites before
the first step: here, too, there is one learning rate.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.published import Rule

from .joined_networks import JoinedNetworks


class CrossStitch(JoinedNetworks):
    """Cross-stitch networks: a network for each task, with features mixed linearly after each stage.

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

    Quirks:
        channel_units: a weight for each channel of each pair of tasks; corrected: one weight for the pair.
    """

    paper = "Misra et al., CVPR 2016"
    code = "after the code released with a survey, SimonVandenhende/Multi-Task-Learning-PyTorch"
    at_stem = False
    units_name = "cross_stitch"
    variants: ClassVar = {"table1": ("channel_units",)}
    published_keys = (
        *JoinedNetworks.published_heads,
        Rule(
            r"cross_stitch\.layer(\d)\.cross_stitch_unit\.(\w+)\.(\w+)\.param",
            r"cross_stitch.stage\1.0.\2.\3",
        ),
    )

    def unit(self, channels: int) -> nn.Module:
        width = channels if "channel_units" in self.quirks else 1
        return CrossStitchUnit(tuple(self.tasks), width, self.alpha, self.beta)


class CrossStitchUnit(nn.ModuleDict):
    """x_i = sum over j of s_ij x_j: target i -> source j -> s_ij, of one width or one for each channel."""

    def __init__(self, tasks: tuple[str, ...], width: int, alpha: float, beta: float) -> None:
        super().__init__(
            {
                i: nn.ParameterDict({j: torch.full((width,), alpha if i == j else beta) for j in tasks})
                for i in tasks
            }
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Task -> (B, C, h, w) to the same."""
        return {i: _mixed(shares, maps) for i, shares in self.items()}


def _mixed(shares: nn.Module, maps: dict[str, Tensor]) -> Tensor:
    assert isinstance(shares, nn.ParameterDict)
    (first, share), *others = shares.items()
    x = share.view(-1, 1, 1) * maps[first]
    for task, share in others:
        x = torch.addcmul(x, share.view(-1, 1, 1), maps[task])
    return x

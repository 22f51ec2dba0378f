"""MTI-Net: tasks exchange features at four scales, and predict at each.

Paper: Vandenhende, Georgoulis, Van Gool, "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task
Learning", ECCV 2020. Scales s = 0 (finest) ... 3, features x_s, every task a, every main task t:

    p_s[a] = blocks([x_s; up(q_{s+1}[a])]),  y_s[a] = logits(p_s[a])      deep supervision at each scale
    q_s    = FPM_s(p_s)                                                   feature propagation, s = 3, 2, 1
    o_s[t] = p_s[t] + sum over a != t of sigma(V * p_s[a]) (W * p_s[a])   distillation, V and W of the pair
    y_t    = up(logits(ReLU(BN(W_t [o_0[t]; up(o_1[t]); up(o_2[t]); up(o_3[t])]))))

Variants:

* `corrected` (default): the mask of the FPM weighs the tasks against each other, as the paper says.
* `published`: the released code, number for number, whose mask weighs neighbouring channels, mostly of one
  task.

In both: images of any size (a coarser map is resized to the finer one's size instead of doubled, the same
where 32 divides the image's sides; the released code takes no others), backbones of other strides, and a task
alone, which gets no messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.auxiliary import main_tasks
from .layers.distillation import Distillation, SourceGated
from .layers.hrnet_head import HRNetHead
from .layers.propagation import FeaturePropagation
from .layers.residual import basic_block

ORDER = ("semseg", "human_parts", "sal", "normals", "edge", "depth")
"""Of the published concatenations; other tasks follow in the order given."""

OfTasks = Mapping[str, Tensor]
"""Task -> map, in the order of `ORDER`."""

PAIR = r"distillation_scale_(\d)\.self_attention\.(\w+)\.(\w+)\."


class MTINet(Method):
    """MTI-Net: initial predictions and distillation between tasks at four scales, propagated coarse to fine.

    Args:
        backbone: gives the features.
        tasks: what to predict, auxiliary tasks included, in any order.
        variant: `corrected` or `published` (released code).
        without: quirks of the variant to leave out.
        auxiliary: those among the tasks that have predictions at each scale only, and send messages.

    Quirks:
        mask_of_neighbours: the mask of feature propagation is a softmax over as many neighbouring channels of
            the concatenated features as there are tasks; corrected: over the same channel of all tasks.
    """

    paper = "Vandenhende, Georgoulis and Van Gool, ECCV 2020"
    code = "after the released code, SimonVandenhende/Multi-Task-Learning-PyTorch"
    published_keys = (
        Rule(r"scale_(\d)\.refinement\.", r"scales.\1.refine."),
        Rule(r"scale_(\d)\.decoders\.", r"scales.\1.logits."),
        Rule(r"fpm_scale_(\d)\.non_linear\.", r"propagation.\1.mask."),
        Rule(r"fpm_scale_(\d)\.dimensionality_reduction\.", r"propagation.\1.reduce."),
        Rule(r"fpm_scale_(\d)\.se\.", r"propagation.\1.excite."),
        Rule(PAIR + r"attention\.0\.", r"distillation.\1.\2.messages.\3.gate."),
        Rule(PAIR + r"conv\.", r"distillation.\1.\2.messages.\3.message."),
    )

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        auxiliary: tuple[str, ...] = (),
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        self.main = main_tasks(tasks, auxiliary, method="mti_net")
        outputs = {a: tasks[a].channels for a in published_order(tasks)}
        channels, coarsest = backbone.channels, len(backbone.channels) - 1
        neighbours = "mask_of_neighbours" in self.quirks
        coarser = [*channels[1:], 0]  # width of what comes from the next coarser scale
        self.scales = nn.ModuleList(
            Scale(c, more, outputs) for c, more in zip(channels, coarser, strict=True)
        )
        self.propagation = nn.ModuleDict(
            {
                str(s): FeaturePropagation(tuple(outputs), channels[s], mask_of_neighbours=neighbours)
                for s in range(1, coarsest + 1)
            }
        )
        self.distillation = nn.ModuleList(
            Distillation({t: SourceGated(t, outputs, c) for t in self.main}) for c in channels
        )
        self.heads = nn.ModuleDict({t: HRNetHead(sum(channels), tasks[t].channels) for t in self.main})

    @property
    def task_blocks(self) -> dict[str, tuple[int, Sequence[str]]]:
        """Of feature propagation the convolutions that reduce all tasks' features, one after the other."""
        order, convolutions = published_order(self.tasks), ("conv1", "downsample.0")
        return {
            f"propagation.{s}.reduce.{c}.weight": (1, order) for s in self.propagation for c in convolutions
        }

    @property
    def meanings(self) -> dict[str, str]:
        """The mask of feature propagation, whose hidden layers grow with the tasks, weighs just these."""
        return {f"propagation.{s}.mask.": "+".join(published_order(self.tasks)) for s in self.propagation}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_s, h_s, w_s) -> predictions (B, K_t, *size), auxiliary ones (B, K_a, h_s, w_s)."""
        found, predictions = self.at_scales(features)  # p_s, y_s
        distilled = [distil(p) for distil, p in zip(self.distillation, found, strict=True)]  # o_s
        final = {t: resize(self.heads[t]([o[t] for o in distilled]), size) for t in self.main}
        return Outputs(final, {f"deep_supervision.scale_{s}": dict(y) for s, y in enumerate(predictions)})

    def at_scales(self, features: list[Tensor]) -> tuple[list[OfTasks], list[OfTasks]]:
        """Features (B, C_s, h_s, w_s) -> every task's features, of that shape, and predictions."""
        found: list[OfTasks] = []
        predictions: list[OfTasks] = []
        coarser: OfTasks = {}
        for s in reversed(range(len(features))):
            p, y = self.scales[s](features[s], coarser)
            found.insert(0, p)
            predictions.insert(0, y)
            if s > 0:
                coarser = self.propagation[str(s)](p)  # q_s
        return found, predictions


class Scale(nn.Module):
    """Every task's features at one scale, and what predicts from them.

    Args:
        channels: of the backbone's map, and of each task's features.
        coarser: channels of what comes from the next coarser scale; 0 at the coarsest.
        outputs: task -> channels of its prediction, in the order of the features.
    """

    def __init__(self, channels: int, coarser: int, outputs: Mapping[str, int]) -> None:
        super().__init__()
        self.refine = nn.ModuleDict(
            {
                a: nn.Sequential(basic_block(channels + coarser, channels), basic_block(channels, channels))
                for a in outputs
            }
        )
        self.logits = nn.ModuleDict({a: nn.Conv2d(channels, k, 1) for a, k in outputs.items()})

    def forward(self, x: Tensor, coarser: OfTasks) -> tuple[OfTasks, OfTasks]:
        """(B, C, H, W) and task -> (B, C', h, w), {} at the coarsest -> features (B, C, H, W), logits."""
        size = (x.shape[-2], x.shape[-1])
        found = {}
        for a, blocks in self.refine.items():
            found[a] = blocks(torch.cat([x, resize(coarser[a], size)], dim=1) if coarser else x)
        return found, {a: logits(found[a]) for a, logits in self.logits.items()}


def published_order(tasks: Iterable[str]) -> list[str]:
    """The tasks as the released code orders them, whatever order they are given in."""
    return sorted(tasks, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

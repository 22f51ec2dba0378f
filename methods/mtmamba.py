"""MTMamba: state-space models decode each task, and exchange features between all tasks, scale by scale.

Paper: Lin et al., "MTMamba: Enhancing Multi-Task Dense Scene Understanding by Mamba-Based Decoders",
ECCV 2024. After the released code, EnVision-Research/MTMamba. From the backbone's coarsest map F_4 to its
finest, each task t, in the stages s = 3, 2, 1 as wide as F_s:

    x_t = reduce_t([expand_t(x_t); F_s])                     twice as fine; x_t = F_4 at first
    x_t = STM_t(STM_t(x_t))                                  selective scans along four ways through the map
    x   = CTM(x)                                             each task's scan mixed with one of all tasks
    y_t = up(logits_t(expand4_t(x_t)))                       at full size

Departures from the published code: any size (an expanded map is resized to that of the skip connection, the
same where 32 divides the image's sides; the released code takes no others), backbones of any four widths
(there each is half of the next) and of other strides than 4 to 32 as long as they aren't all the same, and
one task alone. The scan is written in plain torch and needs no compiled kernel.

Multiply-accumulates are those of products and convolutions, and 9 for each state of a scan and step, as the
code of Mamba counts. With Swin-L at 448x576, four tasks of NYUD-v2, that makes 521.1 G, and 537.7 G with
windows of 12 as published; the paper has 540.8 (MTMamba++: 505.2, 521.8, and 524 published).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.checks import check_numbers, check_rates
from .layers.mamba_blocks import CTM, Maps, PatchExpand, SharedCTM
from .layers.mamba_keys import expanding_rules, mlp_rules, ss2d_rules
from .layers.mamba_stage import Stage
from .layers.scan_2d import SS2D

BLOCKS = 3
"""Of a stage, one after the other: two STM and what goes across tasks."""
PLAIN = "needs feature maps of several strides: with a plain ViT's it would work at full width at all scales"


class MTMamba(Method):
    """MTMamba: selective scans decode each task from coarse to fine, and mix its features with all tasks'.

    Args:
        backbone: gives the features, at several strides.
        tasks: what to predict.
        states: of the state-space models, for each channel (`d_state`).
        expansion: channels of the scans over those of the maps (`ssm_ratio`).
        rank: of the step sizes' projection (`dt_rank`); None: a sixteenth of the maps' channels.
        drop_path: how often the first stage leaves out a branch in training; falls to 0 in the last.
        mlp_ratio: width of an MLP after each scan within a task, in multiples of the map's; 0: none
            (published).
    """

    paper = "Lin et al., ECCV 2024"
    code = "after the released code, EnVision-Research/MTMamba"
    published_keys = (
        *expanding_rules(),
        *ss2d_rules(r"block_1\.(\w+)_(\d)\.op\.", r"stages.\2.within.\1.0.ss2d."),
        *mlp_rules(r"block_1\.(\w+)_(\d)\.", r"stages.\2.within.\1.0."),
        Rule(r"block_1\.(\w+)_(\d)\.", r"stages.\2.within.\1.0."),
        *ss2d_rules(r"block_2\.(\w+)_(\d)\.op\.", r"stages.\2.within.\1.1.ss2d."),
        *mlp_rules(r"block_2\.(\w+)_(\d)\.", r"stages.\2.within.\1.1."),
        Rule(r"block_2\.(\w+)_(\d)\.", r"stages.\2.within.\1.1."),
        *ss2d_rules(r"block_3\.(\d)\.op_share\.", r"stages.\1.across.shared."),
        *ss2d_rules(r"block_3\.(\d)\.op\.(\w+)\.", r"stages.\1.across.own.\2."),
        Rule(r"block_3\.(\d)\.norm_share\.", r"stages.\1.across.shared_norm."),
        Rule(r"block_3\.(\d)\.norm\.", r"stages.\1.across.norms."),
        Rule(r"block_3\.(\d)\.in_proj\.", r"stages.\1.across.gates."),
        Rule(r"block_3\.(\d)\.out_proj\.", r"stages.\1.across.out."),
    )
    name: ClassVar = "mtmamba"
    across: ClassVar[type[CTM] | type[SharedCTM]] = CTM
    """What mixes the tasks."""

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        states: int = 16,
        expansion: int = 2,
        rank: int | None = None,
        drop_path: float = 0.2,
        mlp_ratio: int = 0,
    ) -> None:
        super().__init__(backbone, tasks)
        given = {} if rank is None else {"rank": rank}
        check_numbers(self.name, states=states, expansion=expansion, **given)
        check_numbers(self.name, least=0, mlp_ratio=mlp_ratio)
        check_rates(self.name, drop_path=drop_path)
        if len(set(backbone.strides)) == 1:
            raise MtlbenchError(f"{self.name} {PLAIN}")
        make = partial(SS2D, states=states, rank=rank, expansion=expansion)
        widths = backbone.channels[::-1]
        last = BLOCKS * (len(widths) - 1) - 1
        rates = [drop_path * (1 - i / last) for i in range(last + 1)]
        self.stages = nn.ModuleList(
            Stage(
                tuple(tasks), coarse, fine, make, rates[BLOCKS * i : BLOCKS * (i + 1)], mlp_ratio, self.across
            )
            for i, (coarse, fine) in enumerate(pairwise(widths))
        )
        self.add_heads(widths[-1])

    def add_heads(self, dim: int) -> None:
        """What makes predictions of maps with so many channels."""
        self.final_expand = nn.ModuleDict({t: PatchExpand(dim, dim, 4) for t in self.tasks})
        self.final_logits = nn.ModuleDict({t: nn.Conv2d(dim, k.channels, 1) for t, k in self.tasks.items()})

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """Plain ViTs, as far as a name tells."""
        return f"{cls.name} {PLAIN}" if backbone.startswith("vit") else None

    @property
    def task_blocks(self) -> dict[str, tuple[int, Sequence[str]]]:
        """Layers that take the maps of all tasks, one after the other."""
        return {
            f"stages.{i}.across.{name}": (axis, list(self.tasks))
            for i, stage in enumerate(self.stages)
            for name, axis in cast(Any, stage).across.by_task.items()
        }

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        maps = [x.movedim(1, -1) for x in reversed(features)]
        x: Maps = dict.fromkeys(self.tasks, maps[0])
        for stage, skip in zip(self.stages, maps[1:], strict=True):
            x = stage(x, skip)
        return Outputs({t: resize(self.logits(t, x[t]), size) for t in self.tasks})

    def logits(self, task: str, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, K, 4 h, 4 w)."""
        found: Tensor = self.final_logits[task](self.final_expand[task](x).movedim(-1, 1))
        return found

"""Networks of one task each, complete with backbones, that exchange features after each stage."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from math import isfinite

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.staged import Exchange, side_by_side
from mtlbench.errors import MtlbenchError
from mtlbench.published import Rule

STEM = "stem"
MakeUnit = Callable[[int], nn.Module]
"""Channels -> a module that takes and gives task -> map (B, C, h, w)."""


class TaskBackbones(Backbone):
    """A copy of a backbone for each task, all with the same initial weights; each task gets maps of its own.

    Args:
        backbone: to be copied.
        tasks: their names.
        exchange: what happens at the pauses.
    """

    def __init__(self, backbone: Backbone, tasks: Iterable[str], exchange: Exchange) -> None:
        super().__init__()
        self.copies = nn.ModuleDict({task: deepcopy(backbone) for task in tasks})
        self.tasks = tuple(self.copies)
        self.channels = backbone.channels
        self.strides = backbone.strides  # type: ignore[misc]  # of this one
        self.mean, self.std = backbone.mean, backbone.std
        self.published_keys = tuple(  # type: ignore[misc]  # of this one
            rule for task in self.copies for rule in _of_copy(task, backbone.published_keys)
        )
        self.exchange = exchange

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        """Images (B, 3, H, W) -> task -> four maps (B, C_i, h_i, w_i)."""
        running = {task: copy.staged(images) for task, copy in self._copies()}
        return side_by_side(running, self.exchange)

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        adapted: dict[str, Tensor] = {}
        for task, copy in self._copies():
            prefix = f"copies.{task}."
            own = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
            adapted |= {prefix + key: value for key, value in copy.adapt(own).items()}
        return adapted

    def _copies(self) -> Iterator[tuple[str, Backbone]]:
        for task, copy in self.copies.items():
            assert isinstance(copy, Backbone)
            yield task, copy


def _of_copy(task: str, rules: Iterable[Rule]) -> list[Rule]:
    """Rules for a backbone -> for the copy of a task, whose keys begin with the task."""
    before, after = re.escape(f"{task}."), f"copies.{task}."
    every = [*rules, Rule("", "")]
    return [
        Rule(
            f"{before}(?:{rule.pattern})",
            None if rule.replacement is None else after + rule.replacement,
            rule.convert,
        )
        for rule in every
    ]


def units_at_pauses(backbone: Backbone, make: MakeUnit, *, stem: bool, method: str) -> nn.ModuleDict:
    """Name of each pause (`stem`, `stage1` ...) -> a unit for each of its branches.

    Args:
        backbone: says where it pauses, and how wide the maps are there.
        make: a unit.
        stem: whether there is one after the stem, too.
        method: for the message.

    Raises:
        MtlbenchError: the backbone can't be run stage by stage.
    """
    widths = backbone.stage_channels
    if widths is None:
        raise MtlbenchError(
            f"{method} needs a backbone whose stages can be run one by one (a ResNet, HRNet, Swin, ViT or "
            f"other sequence of stages), which {type(backbone).__name__} can't"
        )
    return nn.ModuleDict(
        {
            pause_name(i): nn.ModuleList(make(channels) for channels in branches)
            for i, branches in enumerate(widths)
            if i or stem
        }
    )


def pause_name(pause: int) -> str:
    return f"stage{pause}" if pause else STEM


def apply_units(units: nn.ModuleList, maps: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    """A unit for each branch, of the maps that all tasks have there."""
    mixed = [unit({task: found[i] for task, found in maps.items()}) for i, unit in enumerate(units)]
    return {task: [branch[task] for branch in mixed] for task in maps}


def initial_shares(alpha: float, beta: float | None, tasks: int) -> tuple[float, float]:
    """How much of its own, and of each other task's features a task starts with.

    Args:
        alpha: of its own; a task that is alone takes all.
        beta: of each other one's; None: so that the sum is 1.
        tasks: how many there are.

    Raises:
        MtlbenchError: one is not finite.
    """
    for name, value in (("alpha", alpha), ("beta", beta)):
        if value is not None and not isfinite(value):
            raise MtlbenchError(f"`{name}` of networks that are joined must be a finite number, got {value}")
    if tasks == 1:
        return 1.0, 0.0
    return alpha, (1 - alpha) / (tasks - 1) if beta is None else beta

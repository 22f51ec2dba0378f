"""What architectures of one complete network for each task have in common.

    X_t      = stage_t(X_t)                      for every task t, then
    (X_t)_t  = exchange((X_t)_t)                 after every stage
    y_t      = up(head_t(X_t^1, ..., X_t^4))

The networks are those of `single_task` with the same backbone and head; trained, they are what such a network
starts from. In the variant `table1` the backbone is shared, and the heads exchange their features:

    y_t      = up(logits_t(exchange((ReLU(BN(conv3x3_t(X))))_t)_t))
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.staged import Maps
from mtlbench.errors import MtlbenchError
from mtlbench.model import Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tasks import Tasks

from .layers.joined import TaskBackbones, apply_units, initial_shares, pause_name, units_at_pauses
from .multi_task import MultiTask

HEAD = "head"


class JoinedNetworks(MultiTask):
    """A network for each task, with units that let them exchange features.

    A subclass says what a unit is, and whether there is one after the stem; its docstring has the arguments.
    """

    search_space = domains(alpha=OneOf((0.7, 0.8, 0.9, 0.95)))
    variants: ClassVar = {"table1": ()}
    published_heads: ClassVar[tuple[Rule, ...]] = (Rule(r"heads\.", "decoders."),)
    at_stem: ClassVar[bool]
    units_name: ClassVar[str]
    """The units' place in the state dict."""

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published", "table1"] = "corrected",
        without: tuple[str, ...] = (),
        head: Literal["fcn", "hrnet", "deeplab"] = "fcn",
        head_channels: int | None = None,
        alpha: float = 0.9,
        beta: float | None = None,
        start: Literal["single_task", "none"] = "single_task",
    ) -> None:
        super().__init__(backbone, tasks, head=head, head_channels=head_channels)
        self.published_keys = type(self).published_keys
        self.keep_quirks(variant, without)
        self.alpha, self.beta = initial_shares(alpha, beta, len(tasks))
        if variant == "table1":
            if head != "fcn":
                raise MtlbenchError(f"`variant: table1` goes with `head: fcn`, got `head: {head}`")
            width = next(iter(self.final_logits.values())).in_channels
            assert isinstance(width, int)
            self.add_module(self.units_name, nn.ModuleDict({HEAD: self.unit(width)}))
            return
        units = units_at_pauses(backbone, self.unit, stem=self.at_stem, method=type(self).__name__)
        self.add_module(self.units_name, units)
        self.backbone = TaskBackbones(backbone, tasks, self._exchange)

    @property
    def units(self) -> nn.ModuleDict:
        """`stem`, `stage1` ... -> a unit for each branch; of the variant `table1`, `head` -> its unit."""
        units: nn.ModuleDict = getattr(self, self.units_name)
        return units

    def unit(self, channels: int) -> nn.Module:
        """What mixes the features of all tasks: task -> (B, C, h, w) to the same."""
        raise NotImplementedError

    def _exchange(self, pause: int, maps: dict[str, Maps]) -> dict[str, Maps]:
        name = pause_name(pause)
        if name not in self.units:
            return maps
        units = self.units[name]
        assert isinstance(units, nn.ModuleList)
        return apply_units(units, maps)

    @classmethod
    def joins(cls, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """The trained network of each task: one of `single_task`, with the same head."""
        given = options.get("start") == "none" or options.get("weights", "none") != "none"
        if given or options.get("variant") == "table1":
            return None
        return "single_task", {key: options[key] for key in ("head", "head_channels") if key in options}

    def name_of_joined(self, task: str, name: str) -> str:
        """Its backbone is the task's copy here; heads have the task in their names."""
        trunk = "backbone."
        return f"{trunk}copies.{task}.{name.removeprefix(trunk)}" if name.startswith(trunk) else name

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i), the same for all tasks -> predictions (B, K_t, *size)."""
        return self.decode_each(dict.fromkeys(self.tasks, features), size)

    def decode_each(self, features: Mapping[str, list[Tensor]], size: tuple[int, int]) -> Outputs:
        """Each task's own features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        if HEAD not in self.units:
            return super().decode_each(features, size)
        found = {t: self.bottleneck[t](maps) for t, maps in features.items()}  # (B, C, h_0, w_0)
        mixed = self.units[HEAD](found)
        return Outputs({t: resize(self.final_logits[t](x), size) for t, x in mixed.items()})

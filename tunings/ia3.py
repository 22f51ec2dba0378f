"""(IA)^3 (Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
Learning", NeurIPS 2022), by the library peft.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from mtlbench.tuning import BackboneMode

from .layers.injected import Injected
from .layers.targets import Targets

SECOND = re.compile(r"(.*\.)?(mlp|ffn)\.(fc2|layers\.1)")
"""The last layer of an MLP: its inputs are scaled, of all other layers the outputs."""


class IA3(Injected):
    """(IA)^3: one trained factor for each output of the adapted layers, for each input of an MLP's last.

    Needs `pip install 'mtlbench[peft]'`. Factors start at one.

    Args:
        targets: the layers to adapt, as for `lora`.
        norms: the backbone's normalisation layers train as well.
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    name: ClassVar = "ia3"

    def __init__(
        self,
        *,
        targets: Targets = "auto",
        norms: bool = False,
        also: tuple[str, ...] = (),
        per_task: bool = False,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        super().__init__(
            targets=targets, norms=norms, also=also, per_task=per_task, backbone_mode=backbone_mode
        )

    def config(self, pattern: str, names: list[str]) -> Any:
        from peft import IA3Config

        second = [re.escape(name) for name in names if SECOND.fullmatch(name)]
        return IA3Config(target_modules=pattern, feedforward_modules="|".join(second) or r"(?!)")

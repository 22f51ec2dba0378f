"""What every tuning promises: which parameters of a network train, and what is added to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import nn

from mtlbench.errors import MtlbenchError
from mtlbench.freezing import stay_in_evaluation
from mtlbench.model import Method
from mtlbench.search.spaces import Domain

BackboneMode = Literal["eval", "train"]
"""Of a backbone that is frozen, or nearly: in `eval` batch normalisation keeps its statistics and neither
dropout nor stochastic depth acts, in `train` they do as in full training.
"""


class Tuning:
    """Options are the keyword-only arguments of the constructor."""

    starts_equal: ClassVar[bool] = True
    """Whether, before training, the network predicts what it predicts without the tuning."""

    search_space: ClassVar[Mapping[str, Domain]] = {}
    """Option -> the values that it is sensible to tune it over; the default is one of them."""

    def apply(self, network: Method) -> Method:
        """Freeze, replace or add modules, before the optimizer is made; returns the network to train.

        It is called once, after the weights are loaded; ahead of a grid also on the meta device, where
        tensors have shapes only. Networks without a backbone (`Method.needs_backbone`) pass as they are.

        Raises:
            MtlbenchError: the options don't fit the network.
        """
        raise NotImplementedError

    def merge(self, network: Method) -> str | None:
        """Put what `apply` added into the weights around it, in place, where the predictions stay the same.

        A merged network has the modules, the names and the costs of the untuned one. By default nothing is
        done: a tuning that only says what trains adds nothing.

        Args:
            network: as `apply` returned it, trained or not.

        Returns:
            None where it is done, else why it can't be; then nothing was changed.
        """
        return None


def freeze_backbone(network: Method, mode: BackboneMode) -> None:
    """No parameter of the backbone trains; modules that are put into it later are not concerned."""
    for parameter in network.backbone_parameters():
        parameter.requires_grad_(False)
    if mode == "eval" and network.needs_backbone:
        stay_in_evaluation(network.backbone)


def norm_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Scales and offsets of all normalisation layers in it, which a class tells by its name."""
    layers = [part for part in module.modules() if "Norm" in type(part).__name__]
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False)]


def named_parameters(module: nn.Module, patterns: Sequence[str], *, option: str) -> list[nn.Parameter]:
    """The parameters whose name contains one of the patterns.

    Raises:
        MtlbenchError: one of them is in no name.
    """
    named = dict(module.named_parameters())
    for pattern in patterns:
        if not any(pattern in name for name in named):
            kinds = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in named))
            raise MtlbenchError(
                f"`{option}`: no parameter of the backbone has `{pattern}` in its name; they begin with "
                f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in named))} and end with {kinds}"
            )
    return [p for name, p in named.items() if any(pattern in name for pattern in patterns)]


def train(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(True)

"""Parts of a network that stay as they are."""

from __future__ import annotations

from functools import partial

from torch import nn


def freeze(module: nn.Module) -> None:
    """None of its parameters trains any more, and it stays in evaluation mode.

    So batch normalisation keeps its statistics, and neither dropout nor stochastic depth acts, whatever mode
    the network around it is set to. State-dict keys stay.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    stay_in_evaluation(module)


def stay_in_evaluation(module: nn.Module) -> None:
    """It and all that it holds now; what is put into it later follows the mode of the network around it."""
    module.eval()
    for part in module.modules():
        part.train = partial(_stay, part)  # type: ignore[method-assign]


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """In place of `nn.Module.train`."""
    for child in module.children():
        child.train(mode)
    return module

"""Which layers of a backbone a tuning adapts."""

from __future__ import annotations

import re
from collections import Counter

from torch import nn

from mtlbench.errors import MtlbenchError

ATTENTION = re.compile(r"attn|attention|msa")
IN_BLOCK = re.compile(ATTENTION.pattern + r"|mlp|ffn")
"""In the names of layers of a transformer's blocks."""
SHOWN = 12
"""Kinds of layers that a message names."""

Targets = str | tuple[str, ...]


def find_targets(backbone: nn.Module, targets: Targets) -> list[str]:
    """Names of the layers to adapt.

    Raises:
        MtlbenchError: there are none, or `nn.MultiheadAttention` is among them.
    """
    named = {name: module for name, module in backbone.named_modules() if name}
    layers = {name: module for name, module in named.items() if is_adaptable(module)}
    if targets == "auto":
        _refuse_multihead(named, [name for name in named if ATTENTION.search(name)], layers)
        return _automatic(layers)
    if targets == "all-linear":
        targets = "|".join(re.escape(name) for name in layers if isinstance(layers[name], nn.Linear))
    found: dict[str, None] = {}
    for target in (targets,) if isinstance(targets, str) else targets:
        matched = _matching(named, target, whole=isinstance(targets, str))
        _refuse_multihead(named, matched, layers)
        if not layers.keys() & matched:
            raise MtlbenchError(
                f"`targets` must name linear layers or convolutions that are not grouped, "
                f"`{target}` names none of this backbone's: {_kinds(layers)}"
            )
        found |= dict.fromkeys(name for name in matched if name in layers)
    return list(found)


def is_adaptable(module: nn.Module) -> bool:
    """Exactly a linear layer or an ungrouped convolution with zeros around it: subclasses may use their
    weights otherwise than as a product.
    """
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == "zeros"
    return type(module) is nn.Linear


def _automatic(layers: dict[str, nn.Module]) -> list[str]:
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    if any(ATTENTION.search(name) for name in linear):
        return [name for name in linear if IN_BLOCK.search(name)]
    if not layers:
        raise MtlbenchError(
            "an adapter of layers needs a backbone with linear layers or convolutions; this one has none"
        )
    return list(layers)


def _matching(named: dict[str, nn.Module], target: str, *, whole: bool) -> list[str]:
    """Names that a regular expression matches as a whole, or that end with some words."""
    try:
        pattern = re.compile(target if whole else rf"(.*\.)?{re.escape(target)}")
    except re.error as error:
        raise MtlbenchError(f"`targets` must be a regular expression, got `{target}`: {error}") from error
    return [name for name in named if pattern.fullmatch(name)]


def _refuse_multihead(named: dict[str, nn.Module], names: list[str], layers: dict[str, nn.Module]) -> None:
    """With peft, such a layer's frozen weights change a little in every pass."""
    for name in names:
        around = named.get(name.rpartition(".")[0])
        if isinstance(named[name], nn.MultiheadAttention) or isinstance(around, nn.MultiheadAttention):
            raise MtlbenchError(
                f"it can't adapt `nn.MultiheadAttention`, which `{name}` is or belongs to: "
                "peft would add the update to its weights and subtract it again in every pass, with rounding "
                f"errors that add up. Name other layers in `targets`: {_kinds(layers)}"
            )


def _kinds(layers: dict[str, nn.Module]) -> str:
    """The layers there are, as patterns of their names with how many each stands for."""
    counts = Counter(re.sub(r"\d+", "*", name) for name in layers)
    shown = [f"{pattern} ({count})" for pattern, count in counts.most_common(SHOWN)]
    left = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {left} more kinds" if left else "") or "there is none"

"""Which backbone a file of weights holds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.published import from_published
from mtlbench.registry import registry
from mtlbench.weights import PREFIXES, problems, read_state, strip_prefix

SEQUENCE = "0."
"""Before its parameters' names where a layer follows the backbone in a sequence."""


def recognise_backbone(path: str) -> str:
    """The name of the backbone whose parameters, all of them, a whole network's file holds.

    Raises:
        MtlbenchError: no such file, or none or several of our backbones fit: the message asks for the name.
    """
    state = read_state(path)
    for prefix in (*PREFIXES, SEQUENCE):
        state = strip_prefix(state, prefix)
    fitting = [name for name in registry.names("backbone") if _fits(name, state)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{' and '.join(fitting)} fit" if fitting else "none of ours fits"
    raise MtlbenchError(f"which backbone {path} holds can't be told ({found}): say it with --backbone NAME")


def _fits(name: str, state: Mapping[str, Tensor]) -> bool:
    with torch.device("meta"):
        backbone: Backbone = registry.load("backbone", name)(weights="none")
    for rules in ((), backbone.published_keys):
        named = from_published(state, rules)
        with suppress(RuntimeError, NotImplementedError):  # what was built without memory may not adapt
            named = backbone.adapt(named)
        wrong = problems(backbone, {key: named[key] for key in backbone.state_dict().keys() & named.keys()})
        if not wrong:
            return True
    return False

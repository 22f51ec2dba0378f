"""A module put in another's place."""

from __future__ import annotations

from torch import nn


def put(around: nn.Module, name: str, module: nn.Module) -> None:
    """In place of the module that has this name in `around`."""
    path, _, last = name.rpartition(".")
    setattr(around.get_submodule(path), last, module)

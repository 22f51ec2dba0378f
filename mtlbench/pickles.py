"""Tensors out of checkpoints of any trainer, without running code from the file.

`torch.load(weights_only=True)` refuses a file that mentions a class that it doesn't know, and the checkpoints
that people publish do: Lightning keeps its callbacks' state under their classes. Here such classes become
dummies that do nothing, and only what rebuilds tensors and plain containers is the real thing.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

PLAIN = ("set", "frozenset", "dict", "list", "tuple", "bytearray", "complex", "slice", "int", "float", "bool")
REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


def load_tensors(path: Path) -> Any:
    """The content of a .pth or .ckpt file; objects of unknown classes are `Dummy`.

    Raises:
        Exception: of the unpickler's choice, where the file is damaged.
    """
    module: Any = ModuleType("mtlbench_pickle")
    module.Unpickler, module.load = _Unpickler, _load
    return torch.load(path, "cpu", weights_only=False, pickle_module=module)


class Dummy:
    """Stands for an object of a class that isn't trusted: takes everything, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Dummy:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Dummy:
        return Dummy()

    def _ignore(self, *args: Any, **kwargs: Any) -> None: ...

    __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (
            (module, name) in (("collections", "OrderedDict"), ("torch", "Size"))
            or (module == "builtins" and name in PLAIN)
            or (module == "torch._utils" and name in REBUILDERS)
            or (module in ("torch", "torch.storage") and name.endswith("Storage"))
            or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype))
        ):
            return super().find_class(module, name)
        return type(name.rpartition(".")[2], (Dummy,), {})


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()

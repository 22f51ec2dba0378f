"""How numba compiles the renderer."""

from typing import Any

from numba import njit

inlined: Any = njit(error_model="numpy", forceinline=True)
"""Decorates scalar helpers: inlined calls pass no arrays around, which is most of the speed."""

ENTRY: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
"""Options of functions that Python calls."""

UNCOUNTED: dict[str, Any] = {**ENTRY, "_nrt": False}
"""The same without reference counting, half of the time else; for functions that make no array."""

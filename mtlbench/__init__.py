"""mtlbench: fair, reproducible benchmarks of multi-task learning for dense prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.loaded import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`mtlbench.load` on first use, so that the command line starts without pandas and torch."""
    if name == "load":
        from mtlbench.loaded import load

        return load
    raise AttributeError(f"module `mtlbench` has no attribute `{name}`")

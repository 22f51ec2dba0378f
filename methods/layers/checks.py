"""Options of methods that can't be built are refused by name."""

from typing import Any

from mtlbench.errors import MtlbenchError

WIDEST, DEEPEST = 16_384, 128
"""What no network here can have more of: channels, tokens or heads; blocks, one after the other."""


def check_numbers(method: str, *, least: int = 1, **options: Any) -> None:
    """Raise MtlbenchError for an option that is no whole number of at least `least`, or is absurdly large."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MtlbenchError(f"`{name}` of {method} must be a whole number >= {least}, got {value!r}")
        most = DEEPEST if name.endswith("depth") else WIDEST
        if value > most:
            raise MtlbenchError(f"`{name}` of {method} must be at most {most}, got {value}")


def check_heads(method: str, dim: int, heads: int) -> None:
    """Raise MtlbenchError where the heads of an attention can't share the width."""
    if dim % heads:
        raise MtlbenchError(
            f"`dim` of {method} must be a multiple of `heads`, got dim {dim} and heads {heads}"
        )


def check_rates(method: str, **options: Any) -> None:
    """Raise MtlbenchError for a share of what is dropped that is not in [0, 1)."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise MtlbenchError(f"`{name}` of {method} must be in [0, 1), got {value!r}")

"""Numbers in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtlbench.entries import number

MOST_NAMES = 5


def p_text(p: float) -> str:
    """`p = 0.031`, `p < 0.001`, or `p unknown`."""
    if not math.isfinite(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"


def span(low: float, high: float, decimals: int) -> str:
    """`95 % interval +0.08 to +1.83`."""
    return f"95 % interval {number(low, decimals, signed=True)} to {number(high, decimals, signed=True)}"


def of_seeds(n: int) -> str:
    return f"{n} seed{'s' if n != 1 else ''}"


def of_rows(n: int) -> str:
    return f"{n} row{'s' if n != 1 else ''}"


def duration(seconds: float) -> tuple[str, float]:
    """The unit that suits a time, and its seconds."""
    if seconds >= 7200:
        return "hours", 3600.0
    return ("minutes", 60.0) if seconds >= 120 else ("seconds", 1.0)


def listed(names: Sequence[str], *, most: int = MOST_NAMES, joint: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f"{joint}and {len(names) - most} more" if len(names) > most else ""
    return joint.join(names[:most]) + more


def against(value: float, base: float) -> str:
    """A cost beside the baseline's: `73 % less`, `the same`, from twice on `3.1 times as much`."""
    ratio = value / base
    if ratio >= 2:
        return f"{ratio:.1f} times as much"
    percent = round(100 * (ratio - 1))
    return "the same" if percent == 0 else f"{abs(percent)} % {'more' if percent > 0 else 'less'}"

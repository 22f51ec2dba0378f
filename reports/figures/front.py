"""The Pareto front: what nothing else beats in one thing without losing in the other."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, gain) points that no other has both at most the cost and at least the gain of.

    Ascending in both; of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    best, found = float("-inf"), []
    for i in order:
        if points[i][1] > best:
            best = points[i][1]
            found.append(i)
    return found

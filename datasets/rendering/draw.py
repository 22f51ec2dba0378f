"""Random draws that are the same on every machine."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draw:
    """Draws of one scene: a fixed stream of doubles in [0, 1), from which all else is computed.

    Args:
        key: non-negative integers that name the stream, e.g. (seed, split, index).
    """

    def __init__(self, key: tuple[int, ...]) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
        self._pool: list[float] = []

    def random(self) -> float:
        """A double in [0, 1)."""
        if not self._pool:
            self._pool = self._generator.random(
                512
            ).tolist()  # one call for many: single calls cost a microsecond
        return self._pool.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def around(self, value: float, spread: float) -> float:
        """Uniform in `value` times [1 - spread, 1 + spread]."""
        return value * self.uniform(1 - spread, 1 + spread)

    def integer(self, low: int, high: int) -> int:
        """Uniform in low..high, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def choice(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

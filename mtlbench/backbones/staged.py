"""Backbones that pause after each of their stages, so that several can exchange what they have found."""

from collections.abc import Callable, Generator, Mapping
from itertools import count

from torch import Tensor

Maps = list[Tensor]
Staged = Generator[Maps, Maps, Maps]
"""Yields the maps (B, C, h, w) after the stem and after each stage, one for each parallel branch, goes on
with the maps that it is sent in their place, and returns what the backbone's `forward` does. Tokens are maps
(B, C, N, 1).
"""
Exchange = Callable[[int, dict[str, Maps]], dict[str, Maps]]
"""(number of the pause, 0 after the stem; the maps of each) -> the maps that each goes on with."""


def side_by_side(running: Mapping[str, Staged], exchange: Exchange) -> dict[str, Maps]:
    """What each returns, where all go from pause to pause together."""
    maps = {name: next(staged) for name, staged in running.items()}
    ended: dict[str, Maps] = {}
    for pause in count():
        sent = exchange(pause, maps)
        for name, staged in running.items():
            try:
                maps[name] = staged.send(sent[name])
            except StopIteration as end:
                ended[name] = end.value
        if ended:
            return ended
    raise AssertionError("a backbone has a last stage")


def unpaused(staged: Staged) -> Maps:
    """What it returns where every map goes on as it is."""
    return side_by_side({"": staged}, lambda pause, maps: maps)[""]


def stages_of(staged: Staged) -> list[list[int]]:
    """Widths of the maps at every pause."""
    widths: list[list[int]] = []

    def note(pause: int, maps: dict[str, Maps]) -> dict[str, Maps]:
        widths.append([x.shape[1] for x in maps[""]])
        return maps

    side_by_side({"": staged}, note)
    return widths

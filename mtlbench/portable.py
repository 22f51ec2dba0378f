"""Weights as networks for other tasks can take them over: every piece under a name that says whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mtlbench.model import Method


@dataclass(frozen=True)
class Weights:
    """A network's state, with what names and shapes don't say of it.

    Attributes:
        network: the state dict.
        blocks: see `Method.task_blocks`.
        meanings: see `Method.meanings`.
    """

    network: dict[str, Tensor]
    blocks: dict[str, tuple[int | tuple[int, ...], tuple[str, ...]]]
    meanings: dict[str, str]

    @classmethod
    def of(cls, network: Method) -> Weights:
        state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
        blocks = {name: (axis, tuple(tasks)) for name, (axis, tasks) in network.task_blocks.items()}
        return cls(state, blocks, dict(network.meanings))

    def saved(self) -> dict[str, Any]:
        """For a file; `Weights(**saved)` is the reverse."""
        return {"network": self.network, "blocks": self.blocks, "meanings": self.meanings}

    def pieces(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """Its parts, which are views of it, by name: for each task or pair with a block, else the whole."""
        value = self.network[name]
        meant = next((text for prefix, text in self.meanings.items() if name.startswith(prefix)), None)
        known = name if meant is None else f"{name} ({meant})"
        axes, tasks = self.blocks.get(name, ((), ()))
        pieces = [(known, value)]
        for axis in (axes,) if isinstance(axes, int) else axes:
            size = value.shape[axis]
            assert size % len(tasks) == 0, f"{name}: {size} along axis {axis} for {len(tasks)} tasks"
            pieces = [
                (f"{label}[{task}]", block)
                for label, piece in pieces
                for task, block in zip(tasks, piece.chunk(len(tasks), axis), strict=True)
            ]
        yield from pieces


@dataclass(frozen=True)
class TakenOver:
    """What became of a network's state.

    Attributes:
        new: pieces that the other network does not have, which keep their initial value.
        changing: the entries that they belong to, and parameters that are in the other network, but as they
            are here initially: it did not train them.
        count: entries that were taken over, in part or whole.
    """

    new: list[str]
    changing: set[str]
    count: int


def take_over(network: Method, theirs: Weights) -> TakenOver:
    """Give `network` all pieces of the same name and shape, in place."""
    known = {label: piece for name in theirs.network for label, piece in theirs.pieces(name)}
    mine = Weights.of(network)
    taken: dict[str, Tensor] = {}
    new, changing = [], set()
    before = dict(network.named_parameters())
    for name, value in mine.network.items():
        mine.network[name] = filled = value.clone()
        missing = []
        for label, piece in mine.pieces(name):
            found = known.get(label)
            if found is None or found.shape != piece.shape:
                missing.append(label)
            else:
                piece.copy_(found)
                taken[name] = filled
        new += missing
        if missing or (name in before and _as_before(before[name], filled)):
            changing.add(name)
    network.load_state_dict(taken, strict=False)
    return TakenOver(new, changing, len(taken))


def _as_before(parameter: nn.Parameter, value: Tensor) -> bool:
    return parameter.requires_grad and parameter.equal(value)

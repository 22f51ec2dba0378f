"""What each task's loss depends on, with the graph cut at the backbone's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from mtlbench.engine.cut import Map
from mtlbench.graph import reached_leaves


@dataclass(frozen=True)
class Reach:
    """Parameters by what reaches them; `shared` are those of more than one task, and all below the cut.

    Attributes:
        own: task position -> parameters that only its loss reaches.
        above: task position -> shared parameters that its loss reaches without passing the cut.
        below: parameters that the maps reach.
        shared: all shared parameters, in the network's order.
        common: shared parameters that all tasks reach.
    """

    own: list[list[nn.Parameter]]
    above: list[list[nn.Parameter]]
    below: list[nn.Parameter]
    shared: list[nn.Parameter]
    common: set[nn.Parameter]


def find_reach(
    roots: Sequence[Sequence[Tensor]],
    maps: Sequence[Map],
    parameters: Sequence[nn.Parameter],
    owners: Mapping[Tensor, int] | None = None,
) -> Reach:
    """Walk the graph from what each task predicts, and from the maps.

    Args:
        roots: task position -> tensors that its loss is made of.
        maps: where the graph is cut.
        parameters: those that train.
        owners: parameter -> the task position that it belongs to, whatever the graph says
            (`Method.own_parameters`).
    """
    owners = owners or {}
    direct = [
        {leaf for leaf in reached_leaves(tensors) if owners.get(leaf, task) == task}
        for task, tensors in enumerate(roots)
    ]
    through = [
        reached_leaves([m.below for m in maps if m.above in found]) if maps else set() for found in direct
    ]
    below = set().union(*through)
    counts = {p: sum(p in found for found in direct) for p in parameters}
    shared = [p for p in parameters if p in below or counts[p] > 1]
    everywhere = [found | passed for found, passed in zip(direct, through, strict=True)]
    known = set(shared)
    return Reach(
        own=[[p for p in parameters if p in found and p not in known] for found in direct],
        above=[[p for p in shared if p in found] for found in direct],
        below=[p for p in parameters if p in below],
        shared=shared,
        common={p for p in shared if all(p in found for found in everywhere)},
    )


def owners_of(network: nn.Module, tasks: Sequence[str]) -> dict[Tensor, int]:
    """Parameters that the network says belong to one task -> its position, -1 for a task not among these."""
    declared: Mapping[str, tuple[str, ...]] = getattr(network, "own_parameters", {})
    return {
        parameter: tasks.index(task) if task in tasks else -1
        for task, prefixes in declared.items()
        for name, parameter in network.named_parameters()
        if name.startswith(prefixes)
    }

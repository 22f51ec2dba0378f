"""A network that starts from the weights that other cells ended with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mtlbench import checkpoint
from mtlbench.building import build_dataset, build_network, learned_tasks
from mtlbench.errors import MtlbenchError
from mtlbench.folder import RunFolder
from mtlbench.freezing import freeze
from mtlbench.frozen import final_weights, frozen_checksums, load_trained
from mtlbench.model import Method
from mtlbench.portable import Weights, take_over
from mtlbench.spec import Cell, Start
from mtlbench.tuning import freeze_backbone

log = logging.getLogger(__name__)


def take_start(network: Method, cell: Cell, folder: RunFolder) -> dict[str, Any]:
    """Take over the weights that a cell starts from, if any; `folder` is the cell's own.

    Returns:
        For the result, as JSON: what `start_from` or `join` says.
    """
    if cell.joins:
        return join(network, cell.joins, folder)
    return start_from(network, cell.start, folder.beside(cell.start.cell)) if cell.start else {}


def start_from(network: Method, start: Start, folder: RunFolder) -> dict[str, Any]:
    """Take over all weights of the same name and shape, and freeze what does not go on training.

    Where a tensor has a block for each task, those of the tasks that both networks have are taken over
    (`Method.task_blocks`). A layer whose shape depends on the tasks in another way starts anew.

    Args:
        network: with its initial weights.
        start: what it starts from, and what trains.
        folder: of the cell that it starts from.

    Returns:
        For the result: `cell`, and which entries of the network's state are `new`, as JSON.

    Raises:
        MtlbenchError: the weights are missing or damaged, or fit nowhere.
    """
    found = take_over(network, _weights(start.cell, folder))
    if not found.count:
        raise MtlbenchError(f"no weight of {start.cell.id} has the name and shape of one of this network")
    log.info("%d of %d weights are those of %s", found.count, len(network.state_dict()), start.cell.id)
    if start.trains == "decoder":
        freeze_backbone(network, "eval")
    elif start.trains == "new":
        _freeze_but(network, found.changing)
    return {"cell": start.cell.id, "new": found.new}


def join(network: Method, cells: Sequence[Cell], folder: RunFolder) -> dict[str, Any]:
    """Put a network together of trained ones, each of which knows one task.

    Args:
        network: with its initial weights.
        cells: of one task each.
        folder: of the network's own cell.

    Returns:
        For the result: `joined`, task -> cell, and which entries of the network's state are `new`, as JSON.

    Raises:
        MtlbenchError: weights are missing or damaged, or don't fit.
    """
    mine, taken = network.state_dict(), dict[str, Tensor]()
    for cell in cells:
        (task,) = cell.tasks
        found = _weights(cell, folder.beside(cell)).network
        named = {network.name_of_joined(task, name): value for name, value in found.items()}
        for name, value in named.items():
            if name not in mine or mine[name].shape != value.shape:
                has = f"has shape {tuple(mine[name].shape)}" if name in mine else "is not there"
                raise MtlbenchError(
                    f"the network of {task} ({cell.id}) doesn't fit into this one: "
                    f"{name} should have shape {tuple(value.shape)}, but {has}"
                )
        taken |= named
    network.load_state_dict(taken, strict=False)
    log.info("%d of %d weights are those of %d trained networks", len(taken), len(mine), len(cells))
    joined = {cell.tasks[0]: cell.id for cell in cells}
    return {"joined": joined, "new": [name for name in mine if name not in taken]}


def _weights(cell: Cell, folder: RunFolder) -> Weights:
    content = checkpoint.load(folder.weights)
    if content is None:
        return _from_checkpoint(cell, folder)
    frozen, _ = content.pop("frozen", {}), content.pop("cell", None)
    if not frozen:
        return Weights(**content)
    network = _built(cell)
    load_trained(network, content["network"], frozen, folder.weights)
    return Weights.of(network)


def _built(cell: Cell) -> Method:
    """Its network, with initial weights."""
    learned = learned_tasks(cell)
    known = build_dataset(cell.dataset, "train", learned).tasks
    return build_network(cell, {name: known[name] for name in learned})


def _from_checkpoint(cell: Cell, folder: RunFolder) -> Weights:
    """Where the file of final weights is lost or damaged: they are in the last checkpoint, too."""
    result, state = folder.result(), checkpoint.load(folder.checkpoint)
    if result is None or state is None or state["step"] < cell.recipe.steps(result.images["train"]):
        raise MtlbenchError(
            f"{folder.weights} is missing: the cell that this one starts from has to run again "
            f"(delete {folder.path})"
        )
    network = _built(cell)
    built = frozen_checksums(network)
    if state.get("frozen"):  # what was frozen then is that of the cell before, if there is one
        take_start(network, cell, folder)
    load_trained(network, state["network"], state.get("frozen", {}), folder.checkpoint)
    log.warning("%s was missing or damaged: made anew from the last checkpoint", folder.weights)
    checkpoint.save(folder.weights, final_weights(network, cell, built))
    return Weights.of(network)


def _freeze_but(network: nn.Module, names: set[str]) -> None:
    """All but the parameters of these names; modules that hold none of them stay in evaluation mode."""
    for prefix, module in network.named_modules():
        inside = [f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters()]
        if inside and names.isdisjoint(inside):
            freeze(module)
    parameters = dict(network.named_parameters())
    for name, parameter in parameters.items():
        if name not in names:
            parameter.requires_grad_(False)
    if parameters and not any(p.requires_grad for p in parameters.values()):
        raise MtlbenchError("`trains: new` leaves nothing to train: no parameter is new or untrained")

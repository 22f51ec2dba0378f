"""What a cell names, built: its data sets, its network, its balancer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from mtlbench import holdout
from mtlbench.balancing import Balancer
from mtlbench.data import Dataset
from mtlbench.errors import MtlbenchError
from mtlbench.frozen import load_trained, read_tuned
from mtlbench.method_weights import load_method_state, load_method_weights
from mtlbench.model import Method
from mtlbench.options import build_options
from mtlbench.registry import registry, unknown
from mtlbench.seeding import derive
from mtlbench.spec import Cell, Choice
from mtlbench.tasks import Tasks
from mtlbench.tuning import Tuning


def learned_tasks(cell: Cell) -> tuple[str, ...]:
    """The cell's tasks and those that its method learns beside them, in the data set's order.

    That order decides what a network's parameters belong to, not the order of a table's columns.

    Raises:
        MtlbenchError: the method's auxiliary tasks are evaluated as well, or the data set lacks them.
    """
    known = registry.load("dataset", cell.dataset.name).tasks
    method = registry.load("method", cell.method.name)
    beside = method.auxiliary_tasks(cell.method.options)
    for name in beside:
        where = f"`auxiliary` of {cell.method.name}"
        if name not in known:
            raise MtlbenchError(f"{where}: {unknown('task', name, list(known))}")
        if name in cell.tasks:
            raise MtlbenchError(f"{where} must name tasks that are not evaluated, got {name}, one of `tasks`")
    return tuple(name for name in known if name in cell.tasks or name in beside)


def build_dataset(choice: Choice, split: str, tasks: tuple[str, ...]) -> Dataset:
    options = build_options(registry, "dataset", choice)
    return registry.load("dataset", choice.name)(split, tasks, **options)


def training_images(cell: Cell, tasks: tuple[str, ...]) -> Dataset:
    """What a cell trains on, with labels of `tasks`.

    Raises:
        MtlbenchError: its data can't be opened, or are too few for the part that it holds out.
    """
    whole = build_dataset(cell.dataset, "train", tasks)
    return holdout.split(whole, cell.holdout)[0] if cell.holdout else whole


def evaluation_images(cell: Cell) -> Dataset:
    """What a cell's scores are of: the validation images, or those that it holds out of training.

    Raises:
        MtlbenchError: as for `training_images`.
    """
    if not cell.holdout:
        return build_dataset(cell.dataset, "val", cell.tasks)
    return holdout.split(build_dataset(cell.dataset, "train", cell.tasks), cell.holdout)[1]


def build_network(cell: Cell, tasks: Tasks) -> Method:
    """The network with its initial weights, which depend on the seed and on files alone.

    The backbone is drawn first; a file with `weights` of the whole network replaces all.
    """
    method = registry.load("method", cell.method.name)
    options = build_options(registry, "method", cell.method)
    weights = options.pop("weights", "none")
    with torch.random.fork_rng():
        torch.manual_seed(derive(cell.seed, "init"))
        backbone = None
        if method.needs_backbone:
            given = build_options(registry, "backbone", cell.backbone)
            backbone = registry.load("backbone", cell.backbone.name)(**given)
        network = method(backbone, tasks, **options)
        if weights != "none":
            _load_weights(network, weights)
        return _tuned(network, cell)


def _tuned(network: Method, cell: Cell) -> Method:
    try:
        return build_tuning(cell.tuning).apply(network)
    except MtlbenchError as error:
        if cell.tuning.name in str(error):
            raise
        raise MtlbenchError(f"{cell.tuning.name} on {cell.method.name}: {error}") from error


def rebuild_network(content: Mapping[str, Any], tasks: Tasks, origin: Path | str) -> Method:
    """The network whose final weights a file holds (`mtlbench.frozen`), tuned as it was.

    Raises:
        MtlbenchError: the frozen weights that it was trained on can't be had any more.
    """
    network = build_network(Cell.model_validate_json(content["cell"]), tasks)
    load_trained(network, content["network"], content["frozen"], origin)
    return network


def _load_weights(network: Method, path: str) -> None:
    """Of a whole network, from a file; what a tuning added in our own training is merged."""
    content = read_tuned(path)
    if content is None:
        load_method_weights(network, path)
        return
    trained = rebuild_network(content, network.tasks, path)
    cell = Cell.model_validate_json(content["cell"])
    reason = build_tuning(cell.tuning).merge(trained)
    if reason is not None:
        raise MtlbenchError(
            f"{path} holds a network with the tuning {cell.tuning}, which can't be merged: {reason}"
        )
    load_method_state(network, trained.state_dict(), path)


def build_tuning(choice: Choice) -> Tuning:
    tuning: Tuning = registry.load("tuning", choice.name)(**build_options(registry, "tuning", choice))
    return tuning


def without_weights(cell: Cell) -> Cell:
    """The cell without files or downloads of weights, which change no shape."""
    return cell.model_copy(update={part: _plain(getattr(cell, part)) for part in ("backbone", "method")})


def _plain(choice: Choice) -> Choice:
    options = {key: value for key, value in choice.options.items() if key != "weights"}
    return choice.model_copy(update={"options": options})


def build_balancer(choice: Choice, tasks: Tasks, *, known: Collection[str] = ()) -> Balancer:
    """The balancer of `tasks`; an option that has values by task may name others that are `known`.

    So one setting serves cells with different tasks: the stages and parts of a protocol.
    """
    options = build_options(registry, "balancer", choice)
    for name, value in options.items():
        if isinstance(value, Mapping) and value.keys() <= set(known):
            options[name] = {task: number for task, number in value.items() if task in tasks}
    return registry.load("balancer", choice.name)(tasks, **options)

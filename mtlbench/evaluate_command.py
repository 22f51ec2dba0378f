"""What `mtlbench evaluate` does: a network from a file of weights, scored on a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mtlbench import catalogue, evaluation
from mtlbench.backbones.recognise import recognise_backbone
from mtlbench.building import (
    build_dataset,
    build_network,
    learned_tasks,
    rebuild_network,
    without_weights,
)
from mtlbench.errors import MtlbenchError
from mtlbench.files import write_atomically
from mtlbench.frozen import read_cell, read_tuned
from mtlbench.loading import evaluation_batches
from mtlbench.options import build_options, one_choice
from mtlbench.registry import registry, unknown
from mtlbench.spec import Cell, Choice
from mtlbench.tasks import Task

Scores = dict[str, dict[str, float]]


def evaluate(
    console: Console,
    *,
    method: str,
    weights: str,
    backbone: str | None,
    method_options: Mapping[str, Any],
    dataset: str,
    dataset_options: Mapping[str, Any],
    tasks: Sequence[str] | None,
    batch_size: int,
    out: Path | None,
    every_metric: bool,
) -> None:
    """Print the scores of a network on the validation images, and write them to `out`.

    Args:
        console: to print to.
        method: its name.
        weights: a file with the whole network, under our or the published names, or one of our final weights
            of a tuned network, which says what tasks, backbone and tuning it is of.
        backbone: its name; None: the one whose parameters the file holds. Networks that bring their own need
            none.
        method_options: of the method.
        dataset: its name.
        dataset_options: of the data set, `root` for one.
        tasks: those of the network; None: all of the data set.
        batch_size: images at a time; some published networks score differently with more than one.
        out: a JSON file.
        every_metric: print all metrics, not only each task's main one.

    Raises:
        MtlbenchError: unknown names or options, no such file, or weights that don't fit the network.
    """
    known = registry.load("dataset", dataset).tasks
    for task in tasks or ():
        if task not in known:
            raise MtlbenchError(unknown(f"task of data set `{dataset}`", task, list(known)))
    chosen = one_choice(registry, "method", method, {**method_options, "weights": weights})
    images = one_choice(registry, "dataset", dataset, dataset_options)
    tuned = read_tuned(weights)
    if tuned is not None:
        cell = _as_tuned(tuned, chosen, backbone, images, weights)
    else:
        cell = Cell(
            dataset=images,
            tasks=tuple(tasks or known),
            backbone=Choice(name=backbone) if backbone else held_backbone(method, weights),
            method=chosen,
            balancer=Choice(name="equal"),
        )
    reason = registry.load("method", method).unsupported(cell.tasks, cell.backbone.name)
    if reason is not None:
        raise MtlbenchError(f"{method} on {cell.backbone.name}: {reason}")
    scores, evaluated = _score(cell, tuned, batch_size, console)
    _print(cell, scores, evaluated, console, every_metric=every_metric)
    if out is not None:
        write_atomically(out, json.dumps({"cell": cell.model_dump(mode="json"), "scores": scores}, indent=1))
        console.print(f"all metrics: {escape(str(out))}", soft_wrap=True)


def held_backbone(method: str, weights: str) -> Choice:
    """What our own files say, or what the parameters in others fit."""
    cell = read_cell(weights)
    if cell is not None:
        return without_weights(cell).backbone
    if not registry.load("method", method).needs_backbone:
        return Choice(name=registry.names("backbone")[0])  # a cell has one, and nobody builds it
    return Choice(name=recognise_backbone(weights))


def _as_tuned(
    tuned: Mapping[str, Any], method: Choice, backbone: str | None, dataset: Choice, weights: str
) -> Cell:
    """The cell whose network a file of ours holds, on a data set."""
    cell = Cell.model_validate_json(tuned["cell"])
    asked = {key: value for key, value in method.options.items() if key != "weights"}
    other = cell.method.name != method.name or (asked and asked != cell.method.options)
    if other or backbone not in (None, cell.backbone.name):
        held = f"{cell.method} on {cell.backbone.name} with {cell.tuning}"
        found = f"{method.changed(options=asked)} on {backbone or cell.backbone.name}"
        raise MtlbenchError(f"{weights} holds a network of {held}, not of {found}")
    return cell.changed(dataset=dataset, start=None, holdout=0.0)


def _score(
    cell: Cell, tuned: Mapping[str, Any] | None, batch_size: int, console: Console
) -> tuple[Scores, dict[str, Task]]:
    options = build_options(registry, "dataset", cell.dataset)
    registry.load("dataset", cell.dataset.name).prepare(**options)
    images = build_dataset(cell.dataset, "val", cell.tasks)
    learned = {name: images.tasks[name] for name in learned_tasks(cell)}
    network = rebuild_network(tuned, learned, "--weights") if tuned else build_network(cell, learned)
    tasks = {name: images.tasks[name] for name in cell.tasks}
    fabric = Fabric(accelerator="cuda" if torch.cuda.is_available() else "cpu", devices=1)
    network.to(fabric.device)
    batches = evaluation_batches(images, tasks, batch_size=batch_size)
    shown = track(
        batches,
        f"{_title(cell)}, {len(images)} images",
        total=-(-len(images) // batch_size),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    return evaluation.evaluate(network, shown, tasks, fabric, cell.recipe), tasks


def _title(cell: Cell) -> str:
    with_backbone = registry.load("method", cell.method.name).needs_backbone
    return f"{cell.method.name} on {cell.backbone.name}" if with_backbone else cell.method.name


def _print(
    cell: Cell, scores: Scores, tasks: Mapping[str, Task], console: Console, *, every_metric: bool
) -> None:
    table = Table("task", "metric", "value", "", box=None, title=escape(_title(cell)), title_justify="left")
    for name, task in tasks.items():
        known = {variant.name: variant for variant in catalogue.variants(name)}
        for metric, value in scores[name].items():
            if metric == task.primary or every_metric:
                variant = known.get(metric)
                scale, summary = (variant.scale, variant.summary) if variant else (1.0, "")
                table.add_row(name, escape(metric), f"{scale * value:.4g}", f"[dim]{escape(summary)}[/]")
    console.print(table)

"""Everything that can be found wrong before the first cell starts is found here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch

from mtlbench import holdout
from mtlbench.building import (
    build_balancer,
    build_network,
    evaluation_images,
    learned_tasks,
    training_images,
    without_weights,
)
from mtlbench.data import SPLITS
from mtlbench.errors import MtlbenchError
from mtlbench.image_size import Size, input_size
from mtlbench.options import build_options
from mtlbench.registry import registry, unknown
from mtlbench.spec import Cell, Choice, Spec

MOST_PARAMETERS = 4 * 10**9

log = logging.getLogger(__name__)


def prepare_data(cells: list[Cell]) -> None:
    """Let every data set of these cells make what it needs, once, before cells run side by side.

    Raises:
        DataError: files are missing or damaged.
    """
    for choice in _datasets(cells):
        registry.load("dataset", choice.name).prepare(**build_options(registry, "dataset", choice))


def cache_data(cells: list[Cell]) -> None:
    """Let every data set of these cells keep its samples in quick reach."""
    for choice in _datasets(cells):
        registry.load("dataset", choice.name).cache(**build_options(registry, "dataset", choice))


def _datasets(cells: list[Cell]) -> list[Choice]:
    found = {id(cell.dataset): cell.dataset for cell in cells}
    return list({str(choice): choice for choice in found.values()}.values())


def check_parts(cells: list[Cell], *, at_most: int | None = None) -> bool:
    """Build every different balancer and network of these cells (networks without memory or weights), and
    look at what is known of their data without reading or making any.

    Args:
        cells: to be checked.
        at_most: checks; what comes after these is not looked at.

    Returns:
        Whether all were looked at.

    Raises:
        MtlbenchError: one of them refuses its options; all such complaints together.
    """
    return _check(
        cells,
        {
            _check_recipe: ("dataset", "recipe", "holdout"),
            _check_balancer: ("dataset", "tasks", "left_out", "method", "balancer"),
            _check_network: ("dataset", "tasks", "backbone", "method", "tuning"),
        },
        at_most,
    )


def check_data(cells: list[Cell]) -> None:
    """Open every different data set of these cells.

    Raises:
        MtlbenchError: one can't be opened, or is too small; all such complaints together.
    """
    _check(cells, {_check_images: ("dataset", "tasks", "method", "recipe", "holdout")})


def _check(
    cells: list[Cell],
    checks: Mapping[Callable[[Cell], None], tuple[str, ...]],
    at_most: int | None = None,
) -> bool:
    """Make each check once for all cells that agree in the parts that it looks at; False: not every one."""
    complaints: dict[str, None] = {}
    to_do: dict[tuple[Any, ...], tuple[Callable[[Cell], None], Cell]] = {}
    different = list({cell.kind: cell for cell in cells}.values())
    for check, parts in checks.items():
        for cell in different:
            to_do.setdefault((check, *(_text(getattr(cell, part)) for part in parts)), (check, cell))
    for check, cell in islice(to_do.values(), at_most):
        try:
            check(cell)
        except MtlbenchError as error:
            complaints[str(error)] = None
    if complaints:
        raise MtlbenchError("\n".join(complaints))
    return at_most is None or len(to_do) <= at_most


def _text(part: Spec | tuple[str, ...] | float) -> str:
    return part.canonical if isinstance(part, Spec) else str(part)


def _check_recipe(cell: Cell) -> None:
    """What can be told without the images."""
    dataset = registry.load("dataset", cell.dataset.name)
    transforms, options = dataset.transforms, build_options(registry, "dataset", cell.dataset)
    images = {split: dataset.images_to_be(split, **options) for split in SPLITS}
    if images["train"] is not None:
        _check_batch(cell, images["train"] - holdout.count(images["train"], cell.holdout))
    if cell.recipe.augment not in (*transforms, "default"):
        raise MtlbenchError(f"recipe.augment: {unknown('transform', cell.recipe.augment, list(transforms))}")


def _check_images(cell: Cell) -> None:
    evaluation_images(cell)
    _check_batch(cell, len(training_images(cell, learned_tasks(cell))))


def _check_batch(cell: Cell, images: int) -> None:
    if cell.recipe.batch_size > images:
        found = f"{cell.recipe.batch_size} of {images} in {cell.dataset}"
        raise MtlbenchError(f"`recipe.batch_size` must be at most the number of training images, got {found}")


def _check_balancer(cell: Cell) -> None:
    dataset = registry.load("dataset", cell.dataset.name)
    tasks = {name: dataset.tasks[name] for name in learned_tasks(cell) if name not in cell.left_out}
    try:
        build_balancer(cell.balancer, tasks, known=dataset.tasks)
    except MtlbenchError:
        raise
    except Exception as error:  # whatever a plugin's constructor does
        raise MtlbenchError(_unbuildable("balancer", cell.balancer, error)) from error


def _check_network(cell: Cell) -> None:
    """On the meta device: shapes and options, but neither memory nor weights."""
    dataset = registry.load("dataset", cell.dataset.name)
    tasks = {name: dataset.tasks[name] for name in learned_tasks(cell)}
    try:
        with torch.device("meta"):
            network = build_network(without_weights(cell), tasks)
        if size := _known_size(cell.dataset):
            network.check_size(size)
    except MtlbenchError:
        raise
    except Exception as error:
        if "meta" not in str(error):
            what = f"{cell.method} on {cell.backbone}"
            raise MtlbenchError(_unbuildable("method", what, error)) from error
        # its constructor needs real numbers; the cell will tell
        log.debug("%s on %s was not checked ahead: %s", cell.method, cell.backbone, error)
        return
    parameters = sum(p.numel() for p in network.parameters())
    if parameters > MOST_PARAMETERS:
        found = f"{cell.method} on {cell.backbone} has {parameters:,}"
        raise MtlbenchError(f"a network must have at most {MOST_PARAMETERS:,} parameters; {found}")


def _known_size(dataset: Choice) -> Size | None:
    """Of the images; None: only their files tell."""
    try:
        return input_size(dataset)
    except MtlbenchError:
        return None


def _unbuildable(family: str, what: object, error: Exception) -> str:
    return f"{family} {what} can't be built: {type(error).__name__}: {error}"

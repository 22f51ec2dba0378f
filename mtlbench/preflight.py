"""Everything that can be found wrong before the first cell starts is found here."""

from __future__ import annotations

import logging

import torch

from mtlbench.cell import build_balancer, build_dataset, build_network
from mtlbench.errors import MtlbenchError
from mtlbench.options import build_options
from mtlbench.registry import registry, unknown
from mtlbench.spec import Cell, Choice

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
    return list({str(cell.dataset): cell.dataset for cell in cells}.values())


def check_cells(cells: list[Cell]) -> None:
    """Build every different data set, balancer and network of these cells (networks without memory or
    weights).

    Raises:
        MtlbenchError: one of them refuses its options; all such complaints together.
    """
    complaints: dict[str, None] = {}
    seen: set[str] = set()
    for cell in cells:
        plain = cell.model_copy(update={"seed": 0})
        for check, parts in _CHECKS:
            key = f"{check.__name__} {[str(getattr(plain, part)) for part in parts]}"
            if key in seen:
                continue
            seen.add(key)
            try:
                check(plain)
            except MtlbenchError as error:
                complaints[str(error)] = None
    if complaints:
        raise MtlbenchError("\n".join(complaints))


def _check_data(cell: Cell) -> None:
    dataset = build_dataset(cell.dataset, "train", cell.tasks)
    build_dataset(cell.dataset, "val", cell.tasks)
    if cell.recipe.batch_size > len(dataset):
        found = f"{cell.recipe.batch_size} of {len(dataset)} in {cell.dataset}"
        raise MtlbenchError(f"`recipe.batch_size` must be at most the number of training images, got {found}")
    if cell.recipe.augment not in (*dataset.transforms, "default"):
        raise MtlbenchError(
            f"recipe.augment: {unknown('transform', cell.recipe.augment, list(dataset.transforms))}"
        )


def _check_balancer(cell: Cell) -> None:
    dataset = registry.load("dataset", cell.dataset.name)
    build_balancer(cell.balancer, {name: dataset.tasks[name] for name in cell.tasks})


def _check_network(cell: Cell) -> None:
    """On the meta device: shapes and options, but neither memory nor weights."""
    dataset = registry.load("dataset", cell.dataset.name)
    options = {key: value for key, value in cell.backbone.options.items() if key != "weights"}
    light = cell.model_copy(update={"backbone": cell.backbone.model_copy(update={"options": options})})
    try:
        with torch.device("meta"):
            build_network(light, {name: dataset.tasks[name] for name in cell.tasks})
    except MtlbenchError:
        raise
    except Exception as error:  # a constructor may need real numbers; the cell will tell
        log.debug("%s on %s was not checked ahead: %s", cell.method, cell.backbone, error)


_CHECKS = (
    (_check_data, ("dataset", "tasks", "recipe")),
    (_check_balancer, ("dataset", "tasks", "balancer")),
    (_check_network, ("dataset", "tasks", "backbone", "method", "tuning")),
)

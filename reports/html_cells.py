"""Cells as the page's script draws them: a list of all, and blocks of their details, compressed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mtlbench.cell_pages import FULL, CellPage
from mtlbench.folder import Result
from mtlbench.results import Results

from .html_commands import cell_command
from .html_packing import compact, packed

BLOCK = 25
"""Cells whose details are unpacked together."""
_BRIEF = (
    f"It is done. Of so many cells only the first {FULL} finished ones are shown in full; this one's folder "
    "holds the same of it, and mtlbench export its numbers."
)
_CURVES = ("losses", "weights", "norms")
_COSTS = {
    "parameters": "parameters",
    "trainable": "trained parameters",
    "encoder_trainable": "trained parameters of the encoder",
    "decoder_trainable": "trained parameters elsewhere",
    "encoder_passes": "passes of the encoder for an image",
    "macs": "multiply-accumulates of an image",
    "module_macs": "the same as published tables count",
    "input_size": "image size",
    "train_seconds": "training (s)",
    "images_per_second": "images per second",
    "evaluate_seconds": "evaluation (s)",
    "peak_memory_mb": "peak memory (MB)",
}
_STATES = {"failed": 0, "running": 1, "interrupted": 2, "new": 3, "pruned": 4, "done": 5}
"""Their places in the list; others come first."""


@dataclass(frozen=True)
class Cells:
    """What the page holds.

    Attributes:
        index: of each cell its id, state, row's name, seed and training time.
        blocks: details of `BLOCK` cells each, in the order of `index`.
    """

    index: list[list[Any]]
    blocks: list[Markup]


def cells(results: Results, names: Mapping[int, str]) -> Cells:
    """All cells, failed ones first.

    Args:
        results: of the grid.
        names: of its rows.
    """
    listed, texts = [], []
    for page in results.pages:  # a page takes much more room than its text
        listed.append(_listed(page, names))
        details = _details(page, names)
        texts.append(json.dumps(details, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    order = sorted(range(len(listed)), key=lambda i: _STATES.get(listed[i][1], -1))
    blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    return Cells(
        [listed[i] for i in order], [packed(f"[{','.join(texts[i] for i in block)}]") for block in blocks]
    )


def _listed(page: CellPage, names: Mapping[int, str]) -> list[Any]:
    listed: list[Any] = compact([page.id, page.state, _name(page, names), page.seed, page.seconds], 3)
    return listed


def _details(page: CellPage, names: Mapping[int, str]) -> dict[str, Any]:
    """What is empty is left out."""
    details: dict[str, Any] = {
        "id": page.id,
        "state": page.state,
        "row": _name(page, names),
        "seed": page.seed,
        "note": _BRIEF if page.brief else "",
        "log": page.log,
        "curves": _curves(page),
    }
    if page.cell is not None:
        details |= {
            "spec": _spec(page),
            "startsFrom": [parent.id for parent in page.cell.parents],
            "command": cell_command(page.cell, page.plugins),
        }
    if page.failure is not None:
        details["failure"] = page.failure.model_dump(include={"kind", "message", "details"})
    if page.result is not None:
        details |= _of_result(page.result)
    kept: dict[str, Any] = compact({k: v for k, v in details.items() if v not in ("", {}, [])})
    return kept


def _of_result(result: Result) -> dict[str, Any]:
    costs = result.costs.model_dump()
    return {
        "scores": result.scores,
        "primary": {task: record.metric for task, record in result.tasks.items()},
        "costs": {_COSTS.get(k, k): _shown(v) for k, v in costs.items() if v is not None},
        "balancing": {k: _shown(v) for k, v in result.balancing.model_dump().items() if v is not None},
        "findings": _flat(result.findings),
        "caveats": result.caveats,
        "provenance": _flat(
            {
                "images": result.images,
                "scored checkpoint": result.selection,
                **result.provenance,
                "fingerprints": result.fingerprints,
                "checksums of data": result.data_checksums,
                "started from": result.started_from,
            }
        ),
    }


def _spec(page: CellPage) -> dict[str, Any]:
    """Names with options, then all fields of the recipe, those that are defaults, too."""
    cell = page.cell
    assert cell is not None
    axes = ("dataset", "backbone", "method", "balancer", "tuning")
    shown: dict[str, Any] = {axis: str(getattr(cell, axis)) for axis in axes}
    shown |= {"tasks": ", ".join(cell.tasks), "left out": ", ".join(cell.left_out), "seed": cell.seed}
    rest = cell.model_dump(mode="json", exclude={*axes, "tasks", "left_out", "seed", "recipe", "start"})
    recipe = {f"recipe: {k}": v for k, v in cell.recipe.model_dump(mode="json").items() if v is not None}
    return {key: value for key, value in {**shown, **rest, **recipe}.items() if value != ""}


def _curves(page: CellPage) -> dict[str, Any]:
    """Panels: name -> {"step": of each point, "lines": {task: values}}."""
    panels: dict[str, Any] = {}
    for kind in _CURVES:
        lines = [line for line in page.history if line.get(kind)]
        tasks = dict.fromkeys(task for line in lines for task in line[kind])
        if tasks:
            values = {task: [line[kind].get(task) for line in lines] for task in tasks}
            panels[kind] = {"step": [line.get("step") for line in lines], "lines": values}
    rates = [line for line in page.history if "lr" in line]
    if rates:
        panels["lr"] = {"step": [r.get("step") for r in rates], "lines": {"lr": [r["lr"] for r in rates]}}
    lines = [line for line in page.evaluations if line.get("scores")]
    for task in dict.fromkeys(task for line in lines for task in line["scores"]):
        values = {task: [line["scores"].get(task) for line in lines]}
        panels[f"validation: {task}"] = {"step": [line["step"] for line in lines], "lines": values}
    return panels


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings under joined names, with values as text or numbers; what is missing is left out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}: ")
        elif value is not None:
            found[f"{prefix}{key}"] = _shown(value)
    return found


def _shown(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return value


def _name(page: CellPage, names: Mapping[int, str]) -> str:
    return names.get(page.row, "")

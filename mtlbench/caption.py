"""What stands under the table: everything that its numbers mean nothing without."""

# ruff: noqa: RUF001 (typeset minus and multiplication signs)
from __future__ import annotations

from collections.abc import Mapping

from mtlbench import catalogue
from mtlbench.results import Results, TaskColumn
from mtlbench.table import Table, tabulate

FORMULA = "Δm = 100/T · Σ s (M − B)/B"


def caption(results: Results) -> str:
    """One paragraph for a grid's main table; what nobody recorded is said to be unknown."""
    table = tabulate(results)
    said = results.captions
    return " ".join(
        [
            f"Data set: {_said(said, 'dataset', table.shared.get('dataset'))}.",
            _seeds(said, table.seeds),
            *_shared(table),
            f"Recipe: {_said(said, 'recipe', table.shared.get('recipe'))}.",
            f"Checkpoint that is scored: {_said(said, 'selection')}.",
            _metrics(results.tasks),
            _delta_m(results),
            _costs(said, table),
            *_incomplete(table),
            "Bold: best mean among the candidates that have every seed, underlined (Markdown: italics): "
            "second best; baseline and reference rows are not ranked.",
        ]
    )


def _said(captions: Mapping[str, str], key: str, default: str | None = None) -> str:
    return (captions.get(key) or default or "not recorded").strip().rstrip(".")


def _seeds(captions: Mapping[str, str], seeds: int) -> str:
    named = f" ({_said(captions, 'seeds')})" if captions.get("seeds") else ""
    if seeds == 0:
        return "No seed is done."
    if seeds == 1:
        return f"One seed{named}: the spread over seeds is unknown."
    return f"n = {seeds} seeds{named}: mean ± sample standard deviation."


def _shared(table: Table) -> list[str]:
    """The labels that left the table, but for those that have a sentence of their own."""
    labels = [f"{k} {v}" for k, v in table.shared.items() if v and k not in ("dataset", "recipe")]
    return [f"In every row: {', '.join(labels)}."] if labels else []


def _metrics(tasks: tuple[TaskColumn, ...]) -> str:
    if not tasks:
        return "No metric was computed yet."
    listed = [
        f"{task.name} {task.heading} {'↑' if task.higher_is_better else '↓'} is {task.metric}"
        + (f" × {task.scale:g}" if task.scale != 1 else "")
        + (f" ({words})" if (words := catalogue.summary(task.metric)) else "")
        for task in tasks
    ]
    return f"Metrics: {', '.join(listed)}."


def _delta_m(results: Results) -> str:
    if results.delta_m.empty:
        return "There is no baseline, so Δm is not given."
    return (
        f"{FORMULA} over the T = {len(results.tasks)} tasks' metrics M, unrounded, with s = 1 where higher "
        f"is better and −1 elsewhere; baseline B: {_said(results.captions, 'baseline')}; positive is better."
    )


def _costs(captions: Mapping[str, str], table: Table) -> str:
    names = {column.name for column in table.columns if column.kind == "cost"}
    if not names:
        return "No costs were recorded."
    size = _said(captions, "input_size")
    return f"Multiply-accumulates (GMACs) are those of one image of {size}; of several networks, their sum."


def _incomplete(table: Table) -> list[str]:
    missing = sum(line.state != "done" for line in table.lines)
    if not missing:
        return []
    verb = "is" if missing == 1 else "are"
    return [
        f"{missing} of {len(table.lines)} rows {verb} incomplete: a dash is a missing number, “k of n” (k/n) "
        "a mean over fewer seeds."
    ]

"""What stands under the table: everything that its numbers mean nothing without."""

# ruff: noqa: RUF001 (typeset minus and multiplication signs)
from __future__ import annotations

from collections.abc import Mapping

from mtlbench import catalogue
from mtlbench.entries import DAGGER
from mtlbench.layouts.columns import shown_as
from mtlbench.layouts.main import main_table
from mtlbench.results import Results, TaskColumn, whole_rows
from mtlbench.table import RANKED_WITHIN, Table

_SPREADS = {
    "std": " ± sample standard deviation",
    "interval": " ± half of the 95 % confidence interval (Student's t)",
    "none": "",
}
FORMULA = "Δm = 100/T · Σ s (M − B)/B"


def caption(results: Results) -> str:
    """One paragraph for a grid's main table; what nobody recorded is said to be unknown."""
    table = main_table(results)
    said = results.captions
    return " ".join(
        sentence
        for sentence in [
            f"Data set: {_said(said, 'dataset', table.shared.get('dataset'))}.",
            _seeds(said, table),
            *_shared(table),
            f"Recipe: {_said(said, 'recipe', table.shared.get('recipe'))}.",
            f"Checkpoint that is scored: {_said(said, 'selection')}.",
            _metrics(results.tasks, table),
            *_delta_m(results, table),
            _costs(results, table),
            *_stages(results),
            *_untrained(table),
            *_incomplete(table),
            f"Bold: best mean among the candidates{_company(results)} that have every seed, underlined "
            "(Markdown: italics): second best; baseline and reference rows are not ranked.",
            *table.notes,
        ]
        if sentence
    )


def _said(captions: Mapping[str, str], key: str, default: str | None = None) -> str:
    return (captions.get(key) or default or "not recorded").strip().rstrip(".")


def _company(results: Results) -> str:
    """What is ranked together, where that is not all."""
    varying = [
        f"one {axis.replace('dataset', 'data set')}"
        for axis in RANKED_WITHIN
        if results.rows[axis].nunique() > 1
    ]
    return f" of {' and '.join(varying)}" if varying else ""


def _seeds(captions: Mapping[str, str], table: Table) -> str:
    named, seeds = f" ({_said(captions, 'seeds')})" if captions.get("seeds") else "", table.seeds
    if seeds == 0:
        return "No seed is done."
    if seeds == 1:
        return f"One seed{named}: the spread over seeds is unknown."
    return f"n = {seeds} seeds{named}: mean{_SPREADS[table.spread]}."


def _shared(table: Table) -> list[str]:
    """The labels that left the table, but for those that have a sentence of their own."""
    listed = {"dataset", "recipe", *(column.name for column in table.columns)}
    labels = [f"{k} {v}" for k, v in table.shared.items() if v and k not in listed]
    return [f"In every row: {', '.join(labels)}."] if labels else []


def _metrics(primary: tuple[TaskColumn, ...], table: Table) -> str:
    if not primary:
        return "No metric was computed yet."
    asked = [shown_as(c.group, c.metric) for c in table.columns if c.kind == "metric"]
    tasks = dict.fromkeys(
        [*primary, *(task for task in asked if task.metric not in {t.metric for t in primary})]
    )
    listed = [
        f"{task.name} {task.heading} {'↑' if task.higher_is_better else '↓'} is {task.metric}"
        + (f" × {task.scale:g}" if task.scale != 1 else "")
        + (f" ({words})" if (words := catalogue.summary(task.metric)) else "")
        for task in tasks
    ]
    return f"Metrics: {', '.join(listed)}."


def _delta_m(results: Results, table: Table) -> list[str]:
    if results.delta_m.empty:
        return ["There is no baseline, so Δm is not given."]
    if not any(column.kind == "delta_m" for column in table.columns):
        return []
    rows = results.rows
    counts = {len(set().union(*found)) for _, found in rows.groupby("dataset")["evaluated"]}
    number = f"the T = {counts.pop()} tasks'" if len(counts) == 1 else "all T tasks' (of the data set)"
    parts = len(whole_rows(rows)) < len(rows)
    only = "; rows that did not train and score all of these tasks have none" if parts else ""
    return [
        f"{FORMULA} over {number} metrics M, unrounded, with s = 1 where higher is better and −1 elsewhere; "
        f"baseline B: {_said(results.captions, 'baseline')}; positive is better{only}."
    ]


def _costs(results: Results, table: Table) -> str:
    names = {column.name for column in table.columns if column.kind == "cost"}
    if not names:
        return "No costs were recorded." if results.costs.empty else ""
    if not names & {"macs", "module_macs"}:
        return ""
    size = _said(results.captions, "input_size")
    counted = f"Multiply-accumulates (GMACs) are all that one image of {size} takes here"
    return f"{counted}; of several networks, their sum."


def _stages(results: Results) -> list[str]:
    several = any(len(stages) > 1 for stages in results.rows["stages"])
    return ["Training times are of all stages together."] if several else []


def _untrained(table: Table) -> list[str]:
    if not any(entry.mark == DAGGER for line in table.lines for entry in line.entries):
        return []
    return [f"{DAGGER}: the row did not train this task; the score is not ranked."]


def _incomplete(table: Table) -> list[str]:
    ours = [line for line in table.lines if not line.published]
    missing = sum(line.state != "done" for line in ours)
    if not missing:
        return []
    verb = "is" if missing == 1 else "are"
    return [
        f"{missing} of {len(ours)} rows {verb} incomplete: a dash is a missing number, “k of n” (k/n) "
        "a mean over fewer seeds."
    ]

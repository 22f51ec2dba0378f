"""Layouts by name, and which one a grid gets that names none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mtlbench.layouts.options import plugin_of, varying
from mtlbench.results import Results
from mtlbench.table import Sheet, sheet_of


@dataclass(frozen=True)
class Layout:
    """A form of tables.

    Attributes:
        columns: names (`mtlbench.layouts.settings`).
        group: the label by which lines stand together; empty: none but the data set.
        like: the tables of the DeGMix paper that have this form.
    """

    columns: tuple[str, ...]
    group: str = ""
    like: str = ""


LAYOUTS: Mapping[str, Layout] = {
    "comparison": Layout(
        ("labels", "parameters", "macs", "tasks", "delta_m", "train_seconds"), "backbone", "I and II"
    ),
    "balancers": Layout(("labels", "tasks", "delta_m", "train_seconds"), "", "III"),
    "protocols": Layout(("labels", "trained", "tasks", "delta_m"), "", "IV"),
    "ablation": Layout(("labels", "options", "parameters", "macs", "tasks", "delta_m"), "", "V and VI"),
    "tuning": Layout(
        (
            "labels",
            "tasks",
            "delta_m",
            "encoder_trainable",
            "decoder_trainable",
            "total_trainable",
            "single_inference",
            "train_seconds",
        ),
        "",
        "VII",
    ),
}


def layout_of(results: Results) -> str:
    """The name of the layout: the grid's, or the one that fits what its candidates differ in.

    `tuning` where tunings vary; `protocols` where what was trained is all that varies; `balancers` where
    balancers are; `ablation` where all have one method and differ in its options; else `comparison`.
    """
    if results.report.layout != "auto":
        return results.report.layout
    rows = results.rows[results.rows["role"] == "candidate"]
    if rows.empty:
        return "comparison"
    vary = {
        name for name in ("dataset", "backbone", "method", "balancer", "tuning") if rows[name].nunique() > 1
    }
    if "tuning" in vary:
        return "tuning"
    if not vary and rows["stages"].nunique() > 1:
        return "protocols"
    if vary == {"balancer"}:
        return "balancers"
    if vary == {"method"} and _one_plugin(sheet_of(results)):
        return "ablation"
    return "comparison"


def _one_plugin(sheet: Sheet) -> bool:
    """Whether all candidates are one method, with other options."""
    rows = sheet.rows.index[sheet.rows["role"] == "candidate"]
    names = {plugin_of(sheet.results, int(row), "method") for row in rows}
    return len(names) == 1 and None not in names and any(o.startswith("method.") for o in varying(sheet))

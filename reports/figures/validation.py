"""What training and scores on the way look like side by side, as in Figure 6 of the DeGMix paper."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtlbench.results import Results

from . import curves
from .chart import Chart
from .leading import leading
from .style import COLUMN, PAGE, legend, line_style, short

CANDIDATES = 5
"""Rows beside the baseline that can be told apart."""
_CAPTION = (
    "Training loss of each task, unweighted and averaged over {bins} stretches of training (above), and the "
    "task's score after so many steps, of the images that the tables score (below; the arrow says what is "
    "better). Lines are means over seeds, shading reaches from the lowest to the highest seed. Nothing is "
    "chosen by these scores: tables show the network after the last step.{left_out}"
)


def charts(results: Results) -> list[Chart]:
    """One chart, if any row was scored on the way."""
    rows, left_out = _rows(results)
    losses, scores = prepare(results, rows)
    if not scores:
        return []
    caption = _CAPTION.format(bins=curves.BINS, left_out=f" {left_out}" if left_out else "")
    return [
        Chart(
            "validation", "Training and validation", caption, partial(draw, losses, scores, _titles(results))
        )
    ]


def prepare(results: Results, rows: list[int]) -> tuple[curves.Panels, curves.Panels]:
    """Task -> curves of losses, and of scores as tables show them."""
    scores, losses = _of(as_shown(results), rows), _of(results.losses, rows)
    return curves.prepare(results, "loss", losses), curves.prepare(results, "value", scores)


def as_shown(results: Results) -> pd.DataFrame:
    """`Results.validation` with values as tables show them."""
    scales = {task.name: task.scale for task in results.tasks}
    frame = results.validation
    return frame.assign(value=frame["value"] * frame["task"].map(scales))


def draw(losses: curves.Panels, scores: curves.Panels, titles: dict[str, str]) -> Figure:
    """A column a task, losses above scores; further tasks below."""
    columns = curves.columns_for(len(scores))
    blocks = -(-len(scores) // columns)
    names = {c.place: c.name for panels in (losses, scores) for found in panels.values() for c in found}
    width = {1: COLUMN, 2: PAGE * 0.7}.get(columns, PAGE)
    handles = [Line2D([], [], label=short(names[place], 34), **line_style(place)) for place in sorted(names)]
    key = legend(handles, width)
    figure = Figure(figsize=(width, 2.9 * blocks + 0.1 + key.height), layout="constrained")
    axes = figure.subplots(2 * blocks, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    for i, task in enumerate(scores):
        above, below = axes[i // columns * 2 : i // columns * 2 + 2, i % columns]
        if task in losses:
            above.set_axis_on()
            curves.draw_panel(above, task, losses[task])
        below.set_axis_on()
        curves.draw_panel(below, titles[task], scores[task])
        below.sharex(above)
        below.set_xlabel("step")
    for line in range(0, 2 * blocks, 2):
        axes[line, 0].set_ylabel("training loss")
        axes[line + 1, 0].set_ylabel("score")
    key.draw(figure)
    return figure


def _rows(results: Results) -> tuple[list[int], str]:
    """Baselines and the leading candidates of those that were scored on the way, and what that leaves out."""
    scored = results.rows.loc[sorted(set(results.validation["row"]))]
    of_role = {role: [int(row) for row in frame.index] for role, frame in scored.groupby("role")}
    chosen, left_out = leading(results, of_role.get("candidate", []), CANDIDATES)
    return sorted([*chosen, *of_role.get("baseline", [])]), left_out


def _of(frame: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    return frame[frame["row"].isin(rows)]


def _titles(results: Results) -> dict[str, str]:
    """What is scored, and which direction is better."""
    return {task.name: f"{task.heading} {'↑' if task.higher_is_better else '↓'}" for task in results.tasks}

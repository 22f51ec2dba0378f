"""The figure of training losses and of scores on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mtlbench.reports.figures import validation
from results_factory import make_results

from mtlbench.results import Results

STEPS = range(50, 401, 50)


def scored_on_the_way(results: Results, rows: range) -> Results:
    """Scores that grow by a thousandth a step; the second seed's are higher by 2."""
    lines = [
        (row, seed, task.name, step, 0.001 * step + 2 * seed)
        for row in rows
        for seed in (0, 1)
        for task in results.tasks
        for step in STEPS
    ]
    frame = pd.DataFrame(lines, columns=["row", "seed", "task", "step", "value"])
    return replace(results, validation=frame)


@pytest.mark.parametrize("tasks", [1, 4])
def test_losses_stand_above_scores(tasks: int) -> None:
    results = scored_on_the_way(make_results(candidates=2, tasks=tasks), range(3))
    losses, scores = validation.prepare(results, [0, 1, 2])
    semseg = scores["semseg"][0]
    assert semseg.step.tolist() == list(STEPS)
    assert semseg.mean == pytest.approx(100 * (0.001 * np.array(STEPS) + 1))
    assert semseg.high - semseg.low == pytest.approx(np.full(len(STEPS), 200))
    (chart,) = validation.charts(results)
    figure = chart.draw()
    titles = [axes.get_title() for axes in figure.axes]
    names = [task.name for task in results.tasks]
    headings = ["mIoU ↑", "rmse ↓", "mErr ↓", "loss ↓"][:tasks]
    assert titles == names + headings
    assert [len(axes.lines) for axes in figure.axes] == [3] * 2 * tasks
    assert set(losses) == set(scores) == set(names)
    assert figure.get_figwidth() == pytest.approx(3.5 if tasks == 1 else 7.16)
    assert chart.png.startswith(b"\x89PNG")


def test_only_the_leading_rows_are_drawn_and_the_caption_says_so() -> None:
    results = scored_on_the_way(make_results(candidates=9), range(10))
    (chart,) = validation.charts(results)
    assert chart.caption.endswith("The 5 of 9 rows with the highest Δm are shown.")
    assert len(chart.draw().axes[4].lines) == 6, "and the baseline"


def test_no_figure_without_scores_on_the_way() -> None:
    assert validation.charts(make_results(candidates=1, seeds=1)) == []

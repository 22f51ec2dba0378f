"""The precision-recall curve of boundaries as a figure."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtlbench.boundary.scores import Scores

INK, FAINT, CURVE = "#222222", "#c9c9c9", "#0b6ba8"
RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
}


def plot_scores(scores: Scores, title: str, path: Path) -> None:
    """Write the curve with lines of equal F to `path` (.png, .pdf or .svg); the odsF point is marked."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(3.6, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _equal_f(axes)
        order = np.argsort(scores.recall, kind="stable")
        drawn = order[scores.recall[order] > 0]
        axes.plot(scores.recall[drawn], scores.precision[drawn], color=CURVE, linewidth=1.8, zorder=3)
        best = scores.recall[scores.ods_index], scores.precision[scores.ods_index]
        label = f"odsF {100 * scores.ods:.2f}   oisF {100 * scores.ois:.2f}   AP {100 * scores.ap:.2f}"
        axes.plot(*best, "o", color=CURVE, markersize=6, markeredgecolor="white", zorder=4)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Recall", ylabel="Precision", aspect="equal")
        axes.set_title(f"{title}\n{label}", fontsize=8.5, color=INK)
        figure.savefig(path, dpi=300)


def _equal_f(axes: mpl.axes.Axes) -> None:
    """Faint lines where F is 0.1, 0.2, ..., 0.9, each with its value at its right end."""
    for f in np.arange(1, 10) / 10:
        recall = np.linspace(f / (2 - f), 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color=FAINT, linewidth=0.7, zorder=1)
        axes.text(1.01, f / (2 - f), f"{f:.1f}", color="#888888", fontsize=6.5, va="center", clip_on=False)

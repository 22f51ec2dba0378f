"""The precision-recall curve of boundaries as a figure."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtlbench.boundary.scores import Scores

INK, GREY, FAINT, CURVE = "#222222", "#777777", "#cfcfcf", "#0b6ba8"
BACK = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
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
        curve: dict[str, Any] = {"color": CURVE, "clip_on": False}
        axes.plot(scores.recall[drawn], scores.precision[drawn], linewidth=1.8, zorder=3, **curve)
        best = scores.recall[scores.ods_index], scores.precision[scores.ods_index]
        axes.plot(*best, "o", markersize=6, markeredgecolor="white", zorder=4, **curve)
        note: dict[str, Any] = {
            "textcoords": "offset points",
            "ha": "right",
            "va": "top",
            "color": CURVE,
            "fontsize": 8,
        }
        axes.annotate(f"odsF {100 * scores.ods:.2f}", best, (-6, -4), bbox=BACK, zorder=5, **note)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Recall", ylabel="Precision", aspect="equal")
        label = f"oisF {100 * scores.ois:.2f}   AP {100 * scores.ap:.2f}"
        axes.set_title(f"{title}\n{label}", fontsize=8.5, color=INK, pad=8)
        figure.savefig(path, dpi=300)


def _equal_f(axes: Axes) -> None:
    """Faint lines where F is 0.1, 0.2, ..., 0.9, each with its value at its right end."""
    for f in np.arange(1, 10) / 10:
        inverse = np.linspace(1, 2 / f - 1, 300)  # of recall: 1 / precision + 1 / recall = 2 / F
        axes.plot(1 / inverse, 1 / (2 / f - inverse), color=FAINT, linewidth=0.7, zorder=1)
        text = f"F = {f:.1f}" if f == 0.9 else f"{f:.1f}"
        axes.text(1.02, f / (2 - f), text, color=GREY, fontsize=6.5, va="center", clip_on=False)

"""`mtlbench score-boundaries`: prints scores of two folders and draws their curve."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mtlbench.boundary.directory import pair_files, score_pairs
from mtlbench.boundary.plot import plot_scores
from mtlbench.boundary.protocols import Protocol, Truth, even_thresholds, find_protocol
from mtlbench.boundary.scores import Scores
from mtlbench.errors import MtlbenchError

PLOTS = (".png", ".pdf", ".svg")


def changed_protocol(
    name: str, *, max_dist: float | None, nms: bool | None, thresholds: int | None, truth: Truth | None
) -> Protocol:
    """A named protocol with some settings changed, which its name then says.

    Raises:
        MtlbenchError: there is no such protocol, or a value makes no sense.
    """
    protocol = find_protocol(name)
    asked = {
        "max_dist": max_dist,
        "nms": nms,
        "thresholds": None if thresholds is None else even_thresholds(thresholds),
        "truth": truth,
    }
    settings: dict[str, Any] = {
        key: value for key, value in asked.items() if value not in (None, getattr(protocol, key))
    }
    texts = [f"{key} {thresholds if key == 'thresholds' else value}" for key, value in settings.items()]
    return replace(protocol, **settings, name=" with ".join([name, *([", ".join(texts)] if texts else [])]))


def score_folders(
    predictions: Path,
    truths: Path,
    protocol: Protocol,
    console: Console,
    *,
    ids: Path | None,
    plot: Path,
    jobs: int | None,
) -> None:
    """Check, score, print, draw."""
    if plot.suffix not in PLOTS or not plot.absolute().parent.is_dir():
        raise MtlbenchError(f"the plot must be a {', '.join(PLOTS)} file in a folder that exists, got {plot}")
    if jobs is not None and jobs < 1:
        raise MtlbenchError(f"`jobs` must be >= 1, got {jobs}")
    pairs = pair_files(predictions, truths, ids)

    def shown(counts: Iterable[np.ndarray], total: int) -> Iterable[np.ndarray]:
        return track(counts, "boundaries", total=total, console=console, transient=True)

    scores = score_pairs(pairs, protocol, jobs=jobs, progress=shown)
    _print(scores, protocol, len(pairs), console)
    plot_scores(scores, f"{protocol.name}, {len(pairs)} images", plot)
    console.print(f"curve: {escape(str(plot))}", soft_wrap=True)


def _print(scores: Scores, protocol: Protocol, images: int, console: Console) -> None:
    table = Table(title=escape(protocol.name), title_justify="left", box=None, show_header=False)
    best = f"threshold {protocol.thresholds[scores.ods_index]:g}"
    best += (
        f", precision {scores.precision[scores.ods_index]:.4f}, recall {scores.recall[scores.ods_index]:.4f}"
    )
    table.add_row("odsF", f"{scores.ods:.4f}", best)
    table.add_row("oisF", f"{scores.ois:.4f}", "")
    table.add_row("AP", f"{scores.ap:.4f}", "")
    console.print(table)
    console.print(
        f"{images} images, {'with' if protocol.nms else 'no'} NMS, {len(protocol.thresholds)} thresholds"
        f" ({'>' if protocol.strict else '>='}), maxDist {protocol.max_dist:g}, truth: {protocol.truth}"
    )

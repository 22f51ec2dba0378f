"""The live view of a running grid."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtlbench.driver import Progress
from mtlbench.spec import Cell
from mtlbench.store import Runs


class LiveView:
    """Cells done and running, step, losses, images/s, time left; in a pipe, one line per change."""

    def __init__(self, cells: list[Cell], runs: Runs, console: Console) -> None:
        self._cells = {cell.id: cell for cell in cells}
        self._runs = runs
        self._console = console
        self._seen: dict[str, str] = {}
        self._steps_before = {cell.id: self._step(cell.id) for cell in cells}
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> LiveView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        for cell, state in progress.states.items():
            if self._seen.get(cell) != state and state in ("done", "failed", "running"):
                self._announce(cell, state)
            self._seen[cell] = state
        if self._live is not None:
            self._live.update(self._render(progress))

    def _announce(self, cell: str, state: str) -> None:
        if state == "done" and cell not in self._seen:
            return  # was there before
        if state == "running" and self._live is not None:
            return  # shown in the live part
        colour = {"done": "green", "failed": "red", "running": "cyan"}[state]
        reason = ""
        if state == "failed" and (failure := self._runs.folder(cell).failure()) is not None:
            reason = f"  {failure.kind}: {failure.message}"
        self._console.print(Text(f"{state:>7}", style=colour), Text(f"{cell}{reason}"), soft_wrap=True)

    def _render(self, progress: Progress) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("cell", "step", "img/s", "losses"):
            table.add_column(
                heading, justify="right" if heading in ("step", "img/s") else "left", no_wrap=True
            )
        for cell, state in progress.states.items():
            if state == "running":
                table.add_row(*self._describe(cell))
        total, done = len(progress.states), progress.count("done") + progress.count("failed")
        summary = f"{done}/{total} cells, {progress.count('running')} running, {self._time_left(progress)}"
        return Group(table, ProgressBar(total=total, completed=done, width=40), Text(summary, style="bold"))

    def _describe(self, cell: str) -> tuple[str, str, str, str]:
        line = self._runs.folder(cell).last_line()
        iterations = self._cells[cell].recipe.iterations
        if line is None:
            return cell, f"0/{iterations}", "", "starting"
        losses = "  ".join(f"{task} {value:.3g}" for task, value in line["losses"].items())
        return cell, f"{line['step']}/{iterations}", f"{line['images_per_second']:.1f}", losses

    def _step(self, cell: str) -> int:
        line = self._runs.folder(cell).last_line()
        return 0 if line is None else int(line["step"])

    def _time_left(self, progress: Progress) -> str:
        """From the share of all steps that this run has done so far; a cell that is done counts whole."""
        todo = sum(self._cells[c].recipe.iterations - self._steps_before[c] for c in self._cells)
        made = 0
        for cell, state in progress.states.items():
            if state in ("done", "failed"):
                made += self._cells[cell].recipe.iterations - self._steps_before[cell]
            elif state == "running":
                made += self._step(cell) - self._steps_before[cell]
        elapsed = time.monotonic() - progress.started
        if made <= 0 or elapsed < 5:
            return "estimating the time left"
        return f"about {_duration(elapsed * (todo - made) / made)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"

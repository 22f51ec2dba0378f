"""The live view of a running grid, in the terminal of its driver."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mtlbench.driver import Progress
from mtlbench.estimate import steps_of
from mtlbench.live_base import LiveBase
from mtlbench.outlook import ENDED, Outlook
from mtlbench.progress_view import COLOURS, bar
from mtlbench.spec import Cell
from mtlbench.store import Runs
from mtlbench.watching import RunningCell


class LiveView(LiveBase):
    """Cells done and running, step, losses, images/s, time left; in a pipe, one line per change."""

    def __init__(self, cells: list[Cell], runs: Runs, console: Console) -> None:
        super().__init__(console)
        self._runs = runs
        self._outlook = Outlook(cells, steps_of)
        self._seen: dict[str, str] = {}
        self._learned: set[str] = set()

    def update(self, progress: Progress) -> None:
        for cell, state in progress.states.items():
            if self._seen.get(cell) != state and state in ("done", "failed", "pruned", "running", "blocked"):
                self._announce(cell, state, progress.reasons.get(cell, ""))
            self._seen[cell] = state
        self._draw(lambda: self._render(progress))

    def _announce(self, cell: str, state: str, reason: str) -> None:
        if state == "done" and cell not in self._seen:
            return  # was there before
        if state == "running" and self._live is not None:
            return  # shown in the live part
        text = f"{cell}  {reason}" if reason else cell
        self._console.print(Text(f"{state:>7}", style=COLOURS[state]), Text(text), soft_wrap=True)

    def _render(self, progress: Progress) -> RenderableType:
        self._learn(progress)
        names = [name for name, state in progress.states.items() if state == "running"]
        lines = {name: line for name in names if (line := self._runs.folder(name).last_line()) is not None}
        cells = [
            RunningCell(
                name,
                lines.get(name),
                self._outlook.steps(name, lines.get(name)),
                self._outlook.of_running(name, lines.get(name)),
            )
            for name in names
        ]
        total, ended = len(progress.states), sum(state in ENDED for state in progress.states.values())
        left = self._outlook.left(progress.states, lines) or "estimating the time left"
        summary = Text(f"{ended}/{total} cells, {len(names)} running, {left}", style="bold")
        return Group(self._at_work(cells), bar(ended, total), summary)

    def _learn(self, progress: Progress) -> None:
        new = [n for n, state in progress.states.items() if state == "done" and n not in self._learned]
        if new:
            self._outlook.learn(self._runs.summaries(new))
            self._learned.update(new)

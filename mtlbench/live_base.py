"""What changes in the terminal while a command is at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

from mtlbench.progress_view import running_cells
from mtlbench.watching import RunningCell

RENDER_SECONDS = 0.5
"""Between two pictures."""


class LiveBase:
    """A picture that changes, below lines that stay; where no terminal is, only the lines.

    Args:
        console: to be drawn on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rendered = 0.0
        self._live = Live(console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _draw(self, render: Callable[[], RenderableType]) -> None:
        """A new picture, if there is a terminal and the last one is not of just now."""
        if self._live is not None and time.monotonic() - self._rendered >= RENDER_SECONDS:
            self._live.update(render())
            self._rendered = time.monotonic()

    def _at_work(self, cells: Sequence[RunningCell]) -> RenderableType:
        """Cells that run, as many as a third of the terminal has room for."""
        width, height = self._console.size
        return running_cells(cells, width, watched=True, most=max(3, height // 3))

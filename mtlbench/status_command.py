"""`mtlbench status`: how far grids are, once or for as long as something is left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from mtlbench.progress_view import COLOURS, NAMES, bar, running_cells
from mtlbench.store import Runs
from mtlbench.watching import GridLook, Watcher, states_of

ORDER = ("done", "running", "new", "interrupted", "failed", "pruned", "blocked")
MOST = 1000
"""Running cells, and cells that failed or are blocked, that are listed where there is no end to the page."""
RECENT = 5
"""The same of failed and blocked ones in a live view."""

PAUSE = 4.0
"""Between two looks at a very large grid, in terms of what one takes."""


def status(
    runs: Runs, console: Console, *, grid: str | None = None, watch: bool = False, interval: float = 2.0
) -> None:
    """Print, for every grid, how many cells are in which state, and what is running, failed or blocked.

    Args:
        runs: read, never written.
        console: printed to; where it is no terminal, a watched grid gets one line for each change.
        grid: the only one to be shown.
        watch: again every `interval` seconds, until nothing is left to run, or Ctrl-C.
        interval: in seconds.

    Raises:
        MtlbenchError: there are no runs, or not this grid.
    """
    watcher = Watcher(runs, grid)
    if watch:
        try:
            _watch(watcher, console, interval)
        except KeyboardInterrupt:
            return
        return
    looks = watcher.look()
    for look in looks:
        for part in _parts(look, console.width, watched=False, most=MOST, recent=MOST):
            console.print(part, soft_wrap=isinstance(part, Text))
    if not looks:
        console.print(f"no grid has been run in {runs.root}", markup=False)


def _watch(watcher: Watcher, console: Console, interval: float) -> None:
    """Ended are grids that two looks find ended: one that failed may be tried again a moment later."""
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    show: Callable[[Sequence[GridLook]], None] = _Lines(console)
    if live is not None:
        show = _Screen(live)
    before: object = None
    with live or nullcontext():
        while True:
            started = time.monotonic()
            looks = watcher.look()
            show(looks)
            now = [look.states for look in looks]
            if now == before and all(look.ended for look in looks):
                return
            before = now
            time.sleep(max(interval, PAUSE * (time.monotonic() - started)))


class _Screen:
    """Draws over what it has drawn before."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def __call__(self, looks: Sequence[GridLook]) -> None:
        width, height = self._live.console.size
        most = max(2, height // 3 // max(1, sum(not look.ended for look in looks)))
        parts = [
            part for look in looks for part in _parts(look, width, watched=True, most=most, recent=RECENT)
        ]
        for part in parts:
            if isinstance(part, Text):
                part.truncate(2 * width, overflow="ellipsis")
        self._live.update(Group(*parts), refresh=True)


class _Lines:
    """A line for each change, after one that says where each grid stood."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: dict[str, dict[str, str]] = {}

    def __call__(self, looks: Sequence[GridLook]) -> None:
        for look in looks:
            before = self._before.get(look.name)
            changes = {} if before is None else {n: s for n, s in look.states.items() if before.get(n) != s}
            for name, state in changes.items():
                text = f"{NAMES.get(state, state):>11}  {name}  {look.reasons.get(name, '')}"
                self._console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)
            if before is None or (changes and look.ended):
                self._console.print(_counts(look), soft_wrap=True)
            self._before[look.name] = look.states


def _parts(look: GridLook, width: int, *, watched: bool, most: int, recent: int) -> list[RenderableType]:
    parts: list[RenderableType] = [_counts(look)]
    if not look.ended:
        parts.append(bar(look.count()["done"], len(look.states)))
    if look.running:
        parts.append(running_cells(look.running, width, watched=watched, most=most))
    parts += _reasons("failed", look.failed, look, recent)
    parts += _reasons("blocked", states_of(look.states, "blocked"), look, recent)
    return parts


def _counts(look: GridLook) -> Text:
    counts = look.count()
    text = Text.assemble((look.name, "bold"), ": ")
    parts = [
        Text(f"{counts[state]} {NAMES.get(state, state)}", COLOURS.get(state, ""))
        for state in ORDER
        if counts[state]
    ]
    text.append_text(Text(", ").join(parts) if parts else Text("no cells"))
    if not look.ended:
        text.append(f"; {look.left or 'the time left is not known yet'}")
    return text


def _reasons(state: str, names: Sequence[str], look: GridLook, most: int) -> list[Text]:
    """The last ones of those that failed or are blocked, with the reason."""
    shown = names[-most:]
    lines = [Text.assemble((f"{state} ", COLOURS[state]), f"{n}: {look.reasons[n]}") for n in shown]
    if len(names) > most:
        lines.append(Text(f"... and {len(names) - most} more that are {state}", "dim"))
    return lines

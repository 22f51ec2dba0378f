"""`mtlbench plan`: every cell of a grid with its state, and what the grid will take."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from mtlbench.errors import mistakes_of
from mtlbench.estimate import Estimate, Estimator
from mtlbench.executors.local import usable_cores, visible_gpus
from mtlbench.outlook import duration
from mtlbench.plan import Plan, plan_grid
from mtlbench.spec import Cell, Execution
from mtlbench.status import PENDING, CellStatus, check_and_inspect, summarise
from mtlbench.store import Runs

MANY_CHECKS = 200
"""More networks and balancers are not built to be looked at."""


def plan(
    grid_path: str,
    runs: Runs,
    console: Console,
    *,
    overrides: Sequence[str],
    plugins: Sequence[str],
    jobs: int | None,
    probe: bool,
) -> None:
    """Print all cells, one a line, then how many are in which state, and how long the rest takes."""
    grid, planned = plan_grid(grid_path, overrides, plugins)
    with mistakes_of(grid_path):
        inspected = check_and_inspect(planned, runs, write=False, at_most=MANY_CHECKS)
    if not inspected.all_checked:
        console.print(f"only {MANY_CHECKS} networks and balancers were checked: `mtlbench run` checks all")
    estimator = Estimator()
    estimator.learn(planned.cells, inspected.summaries)
    statuses = inspected.statuses
    pending = [status.cell for status in statuses if status.state in PENDING]
    if probe:
        estimator.probe(pending, lambda cell, problem: _tell(console, cell, problem))
    estimates = {cell.id: estimator.of(cell) for cell in pending}
    console.file.writelines(_lines(statuses, planned, estimates))
    skipped = sum(row.skipped is not None for row in planned.rows)
    console.print(f"{escape(grid.name)}: {len(statuses)} cells: {summarise(statuses, skipped)}")
    if pending:
        for line in _total(pending, estimates, grid.execution, jobs):
            console.print(line)


def _tell(console: Console, cell: Cell, problem: str | None) -> None:
    text = "measuring some steps of" if problem is None else f"could not be measured ({escape(problem)}):"
    console.print(f"{text} {escape(str(cell.method))} on {escape(str(cell.backbone))}", style="dim")


def _lines(statuses: list[CellStatus], planned: Plan, estimates: dict[str, Estimate | None]) -> list[str]:
    """Plain text: a table of a hundred thousand rows would take minutes to lay out."""
    width = max((len(status.cell.id) for status in statuses), default=0)
    lines = []
    for status in statuses:
        estimate = estimates.get(status.cell.id)
        time = "" if estimate is None else f"{_MARKS[estimate.basis]}{duration(estimate.seconds)}"
        line = f" {status.state:<12}{status.cell.id:<{width}}  {time:>12}  {status.reason}"
        lines.append(f"{line.rstrip()}\n")
    for row in planned.rows:
        if row.skipped:
            what = f"{row.labels['method']} on {row.labels['backbone']}"
            lines.append(f" {'skipped':<12}{what:<{width}}  {'':>12}  {row.skipped}\n")
    return lines


_MARKS = {"measured": "", "probe": "~", "similar": "~"}


def _total(
    pending: list[Cell], estimates: dict[str, Estimate | None], execution: Execution, jobs: int | None
) -> list[str]:
    """How long it takes, and what that is based on."""
    known = [(cell, found) for cell in pending if (found := estimates[cell.id]) is not None]
    unknown = len(pending) - len(known)
    hint = f"{unknown} of {len(pending)} cells: no like cell was measured (--probe measures some steps)"
    if not known:
        return [hint]
    gpus = visible_gpus()
    cells_at_a_time = jobs or (
        int(len(gpus) / (execution.devices * execution.gpu)) if gpus else usable_cores()
    )
    seconds = sum(found.seconds for _, found in known)
    by_cell = {cell.id: found.seconds for cell, found in known}
    longest = max(cell.longest_path(lambda one: by_cell.get(one.id, 0.0)) for cell, _ in known)
    wall = max(seconds / max(cells_at_a_time, 1), longest)
    text = f"about {duration(wall)} with {cells_at_a_time} cells at a time; "
    text += f"{duration(seconds)} of cells one after the other"
    if gpus:
        text += f", {seconds * execution.devices * execution.gpu / 3600:.1f} GPU-hours"
    bases = [found.basis for _, found in known]
    counts = ", ".join(f"{bases.count(basis)} {words}" for basis, words in _BASES.items() if basis in bases)
    return [f"{text} ({counts})", *([hint] if unknown else [])]


_BASES = {
    "measured": "as like cells took",
    "similar": "~as similar cells took",
    "probe": "~from some measured steps",
}

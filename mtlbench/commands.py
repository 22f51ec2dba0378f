"""What the commands do; `mtlbench.cli` handles arguments."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm
from rich.table import Table

from mtlbench import preflight
from mtlbench.cell import read_job
from mtlbench.collect import collect
from mtlbench.config import Grid, load_grid
from mtlbench.driver import Progress, run_cells
from mtlbench.errors import MtlbenchError
from mtlbench.executors.local import LocalExecutor
from mtlbench.folder import write_atomically
from mtlbench.live import LiveView
from mtlbench.plan import Plan, Row, costly_first, expand
from mtlbench.registry import Plugin, registry
from mtlbench.results import Results
from mtlbench.spec import Cell, Execution
from mtlbench.status import CellStatus, inspect_plan, summarise
from mtlbench.store import Runs
from mtlbench.terminal import print_table

log = logging.getLogger(__name__)

MANY_CELLS = 100
EXIT_DONE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def run(
    grid_path: str,
    runs: Runs,
    console: Console,
    *,
    overrides: Sequence[str],
    plugins: Sequence[str],
    jobs: int | None,
    yes: bool,
) -> int:
    """Plan, run what is not done, write the report and print its table; returns the exit code."""
    grid, plan = _read(grid_path, overrides, plugins)
    preflight.prepare_data(plan.cells)
    statuses = inspect_plan(plan, runs)
    preflight.check_cells([status.cell for status in statuses if status.state == "new"])
    runs.save_grid(grid.name, [row.record() for row in plan.rows])
    console.print(f"{escape(grid.name)}: {len(plan.cells)} cells: {_counts(plan, statuses)}")
    _explain(statuses, ("failed", "stale"), console)
    cells = costly_first([status.cell for status in statuses if _runs_now(status, runs)], registry)
    ask = len(cells) > MANY_CELLS and not yes and console.is_terminal
    if ask and not Confirm.ask(f"Run {len(cells)} cells?", console=console):
        return EXIT_DONE
    runs.index(status.cell.id for status in statuses if status.state in ("done", "stale"))
    progress = _execute(cells, runs, grid.execution, grid.plugins, jobs, console)
    return _conclude(
        [cell.id for cell in plan.cells], progress, grid.name, runs, console, f"mtlbench run {grid_path}"
    )


def plan(
    grid_path: str, runs: Runs, console: Console, *, overrides: Sequence[str], plugins: Sequence[str]
) -> int:
    """Print every cell of a grid with its state."""
    grid, planned = _read(grid_path, overrides, plugins)
    preflight.prepare_data(planned.cells)
    statuses = inspect_plan(planned, runs)
    preflight.check_cells([status.cell for status in statuses if status.state == "new"])
    table = Table("cell", "state", "", box=None)
    for status in statuses:
        table.add_row(escape(status.cell.id), status.state, escape(status.reason))
    for row in planned.rows:
        if row.skipped:
            table.add_row(
                escape(f"{row.labels['method']} on {row.labels['backbone']}"), "skipped", escape(row.skipped)
            )
    console.print(table)
    console.print(f"{escape(grid.name)}: {len(statuses)} cells: {_counts(planned, statuses)}")
    return EXIT_DONE


def rerun(runs: Runs, console: Console, *, failed: bool, stale: bool, jobs: int | None) -> int:
    """Run failed cells again (from their last checkpoints), and stale ones anew."""
    if not failed and not stale:
        raise MtlbenchError("say which cells to run again: --failed, --stale or both")
    chosen: list[Cell] = []
    execution = Execution()
    for cell_id in sorted(runs.cells()):
        folder = runs.folder(cell_id)
        if not folder.job.exists():
            continue
        job = read_job(folder.job)
        for plugin in job.plugins:
            registry.add_file(plugin)
        state = folder.state()
        if failed and state == "failed":
            folder.forgive()
        elif stale and state == "done" and inspect_plan(_plan_of(job.cell), runs)[0].state == "stale":
            _set_aside(runs, cell_id)
        else:
            continue
        chosen.append(job.cell)
        execution = job.execution.model_copy(update={"threads": None})
    console.print(f"{len(chosen)} cells to run again")
    progress = _execute(chosen, runs, execution, registry.files, jobs, console)
    ids = {cell.id for cell in chosen}
    for name, rows in runs.grids().items():
        if ids & {cell for row in rows for found in row["cells"].values() for cell in found}:
            write_reports(name, runs, console)
    failures = progress.count("failed")
    return EXIT_INTERRUPTED if progress.interrupted else EXIT_SOME_FAILED if failures else EXIT_DONE


def status(runs: Runs, console: Console) -> int:
    """Print, for every grid, how many cells are in which state, and what is running or failed."""
    grids = runs.grids()
    for name, rows in sorted(grids.items()):
        ids = list(dict.fromkeys(cell for row in rows for found in row["cells"].values() for cell in found))
        states = {cell: runs.folder(cell).state() for cell in ids}
        counts = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
        console.print(f"[bold]{escape(name)}[/]: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
        for cell, state in states.items():
            if state == "running" and (line := runs.folder(cell).last_line()) is not None:
                console.print(f"  running {escape(cell)}: step {line['step']}")
            if state == "failed" and (failure := runs.folder(cell).failure()) is not None:
                console.print(f"  [red]failed[/] {escape(cell)}: {failure.kind}: {escape(failure.message)}")
    if not grids:
        console.print(f"no grid has been run in {escape(str(runs.root))}")
    return EXIT_DONE


def report(runs: Runs, console: Console, *, grid: str | None) -> int:
    """Write the reports of one grid, or of all."""
    names = [grid] if grid else sorted(runs.grids())
    for name in names:
        write_reports(name, runs, console)
    if not names:
        raise MtlbenchError(f"no grid has been run in {runs.root}")
    return EXIT_DONE


def write_reports(grid: str, runs: Runs, console: Console, *, again: bool = True) -> None:
    """Every registered report of one grid; prints the table and where the files are.

    Unless `again`, reports stay as they are where nothing has changed since they were written.
    """
    results = collect(runs, grid)
    folder = runs.reports(grid)
    folder.mkdir(parents=True, exist_ok=True)
    record, state = folder / ".written.json", _report_state(results)
    written = _files_written(record, state)
    if again or written is None:
        written = [path for plugin in registry.plugins("report") for path in _write(plugin, results, folder)]
        names = [str(path.relative_to(folder)) for path in written]
        write_atomically(record, json.dumps({"state": state, "files": names}))
    print_table(results, console)
    console.print(f"Report of {escape(grid)}:")
    for path in written:
        if path.suffix in (".html", ".md", ".tex", ".csv"):
            console.print(f"  {escape(str(path))}", soft_wrap=True)
    for place in sorted({path.parent for path in written if path.suffix == ".png"}):
        count = len({path for path in written if path.parent == place and path.suffix == ".png"})
        console.print(f"  {escape(str(place))}/ ({count} figures)", soft_wrap=True)


def _report_state(results: Results) -> str:
    """A checksum of all numbers that reports show."""
    frames = [value for value in vars(results).values() if isinstance(value, pd.DataFrame)]
    content = "".join(frame.to_csv() for frame in frames) + str(results.captions)
    return hashlib.sha256(content.encode()).hexdigest()


def _files_written(record: Path, state: str) -> list[Path] | None:
    """The files of the last report, if it showed the same numbers and all are still there."""
    if not record.exists():
        return None
    content = json.loads(record.read_text(encoding="utf-8"))
    files = [record.parent / name for name in content["files"]]
    return files if content["state"] == state and all(file.exists() for file in files) else None


def _write(plugin: Plugin, results: Results, folder: Path) -> list[Path]:
    """One report's files; a plugin that breaks must not cost the others."""
    try:
        return plugin.load()(results, folder)
    except Exception:
        log.exception("report `%s` (from %s) failed", plugin.name, plugin.origin)
        return []


def _read(grid_path: str, overrides: Sequence[str], plugins: Sequence[str]) -> tuple[Grid, Plan]:
    grid = load_grid(grid_path, registry, overrides=overrides, plugins=plugins)
    planned = expand(grid, registry)
    if not planned.cells:
        reasons = (
            "; ".join(dict.fromkeys(row.skipped for row in planned.rows if row.skipped))
            or "all rows are excluded"
        )
        raise MtlbenchError(f"{grid_path} leaves nothing to run: {reasons}")
    return grid, planned


def _runs_now(status: CellStatus, runs: Runs) -> bool:
    """What was cut off goes on; what failed by itself waits for `rerun --failed`."""
    if status.state == "failed":
        failure = runs.folder(status.cell).failure()
        if failure is not None and failure.kind == "killed":
            runs.folder(status.cell).forgive()
            return True
    return status.state in ("new", "interrupted")


def _execute(
    cells: list[Cell],
    runs: Runs,
    execution: Execution,
    plugins: tuple[str, ...],
    jobs: int | None,
    console: Console,
) -> Progress:
    preflight.cache_data(cells)
    with closing(LocalExecutor(jobs=jobs)) as executor, LiveView(cells, runs, console) as live:
        return run_cells(cells, executor, runs, execution, plugins, live.update)


def _conclude(
    cells: list[str], progress: Progress, grid: str, runs: Runs, console: Console, command: str
) -> int:
    if progress.interrupted:
        console.print(f"Stopped. Nothing is lost; go on with the same command: {escape(command)}")
        return EXIT_INTERRUPTED
    write_reports(grid, runs, console, again=False)
    failed = [cell for cell in cells if runs.folder(cell).state() == "failed"]
    if failed:
        console.print(
            f"[red]{len(failed)} cells failed[/]; after mending: mtlbench rerun {runs.root} --failed"
        )
        for cell in failed:
            failure = runs.folder(cell).failure()
            if failure is not None:
                console.print(
                    f"[red]{failure.kind}[/] {escape(cell)}: {escape(failure.message)}", soft_wrap=True
                )
                console.print(escape(failure.details.strip()[-2000:]), style="dim", soft_wrap=True)
        return EXIT_SOME_FAILED
    return EXIT_DONE


def _counts(planned: Plan, statuses: list[CellStatus]) -> str:
    return summarise(statuses, sum(row.skipped is not None for row in planned.rows))


def _explain(statuses: list[CellStatus], states: tuple[str, ...], console: Console) -> None:
    for entry in statuses:
        if entry.state in states:
            console.print(f"  {entry.state} {escape(entry.cell.id)}: {escape(entry.reason)}", soft_wrap=True)


def _plan_of(cell: Cell) -> Plan:
    return Plan([Row("candidate", {}, cell.tasks, {cell.seed: [cell]})])


def _set_aside(runs: Runs, cell: str) -> None:
    """Keep the old run folder beside, under the time of this moment."""
    place = runs.root / "superseded" / f"{cell}.{datetime.now():%Y%m%d-%H%M%S}"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(runs.folder(cell).path, place)


def runs_at(root: Path, store: str | None = None) -> Runs:
    return Runs(root, store)

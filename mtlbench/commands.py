"""What the commands do; `mtlbench.cli` handles arguments."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing

from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from mtlbench import preflight, tracking
from mtlbench.claims import Claims
from mtlbench.driver import Driver, Progress
from mtlbench.errors import MtlbenchError, mistakes_of
from mtlbench.executors.choose import Where, dry_run, make_executor
from mtlbench.folder import Job, read_job
from mtlbench.layouts.collected import report_record
from mtlbench.live import LiveView
from mtlbench.plan import Plan, Row, costly_first, plan_grid
from mtlbench.registry import registry
from mtlbench.report_command import write_reports
from mtlbench.retrying import PASSING
from mtlbench.spec import Cell, Execution
from mtlbench.status import PENDING, CellStatus, check_and_inspect, inspect_plan, summarise
from mtlbench.store import Runs

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
    where: Where,
    yes: bool,
) -> int:
    """Plan, run what is not done, write the report and print its table; returns the exit code."""
    grid, plan = plan_grid(grid_path, overrides, plugins)
    tracking.check(grid.execution.track)
    with mistakes_of(grid_path):
        statuses = check_and_inspect(plan, runs, write=True).statuses
    cells = costly_first([status.cell for status in statuses if runs_now(status, runs)], registry)
    if where.dry_run:
        console.print(dry_run(where, runs, cells, grid), markup=False, highlight=False, soft_wrap=True)
        return EXIT_DONE
    report = report_record(grid.report, plan.rows, registry)
    runs.save_grid(grid.name, [row.record() for row in plan.rows], grid.published, report)
    console.print(f"{escape(grid.name)}: {len(plan.cells)} cells: {_counts(plan, statuses)}")
    _explain(statuses, ("failed", "stale"), console)
    ask = len(cells) > MANY_CELLS and not yes and console.is_terminal
    if ask and not Confirm.ask(f"Run {len(cells)} cells?", console=console):
        return EXIT_DONE
    progress = execute(cells, runs, grid.execution, grid.plugins, where, console)
    return conclude(
        [cell.id for cell in plan.cells], progress, grid.name, runs, console, f"mtlbench run {grid_path}"
    )


def rerun(runs: Runs, console: Console, *, failed: bool, stale: bool, where: Where) -> int:
    """Run failed cells again (from their checkpoints), and stale ones anew; then what waited for them."""
    if not failed and not stale:
        raise MtlbenchError("say which cells to run again: --failed, --stale or both")
    chosen: list[Cell] = []
    execution = Execution()
    jobs = _jobs(runs)
    for job in jobs:
        for plugin in job.plugins:
            registry.add_file(plugin)
        folder = runs.folder(job.cell)
        state = folder.state()
        if failed and state == "failed":
            folder.forgive()
        elif stale and state == "done" and _inspect(job.cell, runs).state == "stale":
            runs.supersede(job.cell.id)
        else:
            continue
        chosen.append(job.cell)
        execution = job.execution.model_copy(update={"threads": None})
    tracking.check(execution.track)
    console.print(f"{len(chosen)} cells to run again")
    progress = execute(
        [*chosen, *_waiting_for(chosen, jobs, runs)], runs, execution, registry.files, where, console
    )
    ids = {cell.id for cell in chosen}
    for name, rows in runs.grids().items():
        if ids & {cell for row in rows for found in row["cells"].values() for cell in found}:
            write_reports(name, runs, console)
    failures = progress.count("failed")
    return EXIT_INTERRUPTED if progress.interrupted else EXIT_SOME_FAILED if failures else EXIT_DONE


def runs_now(status: CellStatus, runs: Runs) -> bool:
    """What was cut off goes on; what failed by itself waits for `rerun --failed`.

    The driver is told of what waits for others, too, and of what other drivers run.
    """
    if status.state == "failed":
        failure = runs.folder(status.cell).failure()
        if failure is not None and failure.kind in PASSING:
            runs.folder(status.cell).forgive()
            return True
    return status.state in PENDING


def _jobs(runs: Runs) -> list[Job]:
    """Of all cells that have one."""
    jobs = []
    for file in (runs.folder(name).job for name in sorted(runs.cells())):
        try:
            jobs.append(read_job(file))
        except MtlbenchError as error:  # written without haste: a power cut may have left it empty
            log.warning("%s: run its grid again", error)
    return jobs


def _waiting_for(chosen: list[Cell], jobs: list[Job], runs: Runs) -> list[Cell]:
    """Cells that never started because one of these was not done."""
    ids = {cell.id for cell in chosen}
    others = [job.cell for job in jobs if job.cell.id not in ids and runs.folder(job.cell).result() is None]
    return [cell for cell in others if any(base.id in ids for base in cell.lineage)]


def execute(
    cells: list[Cell],
    runs: Runs,
    execution: Execution,
    plugins: tuple[str, ...],
    where: Where,
    console: Console,
) -> Progress:
    if not cells:
        return Progress()
    claims = Claims(runs)
    with closing(make_executor(where, runs.root)) as executor, LiveView(cells, runs, console) as live:
        preflight.cache_data(cells)
        progress = Driver(cells, executor, runs, execution, plugins, claims).run(live.update)
    claims.release()
    if left := runs.flush():
        console.print(f"{len(left)} cells are not in the index: mtlbench reindex {escape(str(runs.root))}")
    return progress


def conclude(
    cells: list[str], progress: Progress, grid: str, runs: Runs, console: Console, command: str
) -> int:
    if progress.interrupted:
        return stopped(console, command)
    write_reports(grid, runs, console, again=False)
    failed = [cell for cell, summary in runs.summaries(cells).items() if summary.state == "failed"]
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


def stopped(console: Console, command: str) -> int:
    """Say how to go on: with all that was typed, but `--fresh`, which would forget what there is."""
    if sys.argv[1:2] == command.split()[1:2]:
        command = shlex.join(["mtlbench", *(word for word in sys.argv[1:] if word != "--fresh")])
    console.print(f"Stopped. Nothing is lost; go on with the same command: {escape(command)}", soft_wrap=True)
    return EXIT_INTERRUPTED


def _counts(planned: Plan, statuses: list[CellStatus]) -> str:
    return summarise(statuses, sum(row.skipped is not None for row in planned.rows))


def _explain(statuses: list[CellStatus], states: tuple[str, ...], console: Console) -> None:
    for entry in statuses:
        if entry.state in states:
            console.print(f"  {entry.state} {escape(entry.cell.id)}: {escape(entry.reason)}", soft_wrap=True)


def _inspect(cell: Cell, runs: Runs) -> CellStatus:
    alone = Plan([Row("candidate", {}, cell.tasks, cells={cell.seed: [cell]})])
    return inspect_plan(alone, runs, runs.summaries(c.id for c in alone.cells))[-1]

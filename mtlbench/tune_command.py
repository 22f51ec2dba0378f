"""`mtlbench tune`: studies of a grid's settings, and what they found against the defaults."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from mtlbench import commands, preflight, tracking
from mtlbench.claims import Claims
from mtlbench.collect import collect
from mtlbench.config import Grid, load_grid
from mtlbench.errors import mistakes_of
from mtlbench.executors.choose import Where, make_executor
from mtlbench.executors.local import usable_cores, visible_gpus
from mtlbench.layouts.collected import report_record
from mtlbench.plan import Plan, Row, costly_first
from mtlbench.registry import registry
from mtlbench.search.plans import StudyPlan, studies_of
from mtlbench.spec import Execution
from mtlbench.status import check_and_inspect
from mtlbench.store import Runs
from mtlbench.studies.comparison import Comparison, compare_settings, gains, verdict
from mtlbench.studies.live import StudiesView, value_text
from mtlbench.studies.opening import begun_otherwise
from mtlbench.studies.outcome import best_trial, counts, seeds_text, write_outcome
from mtlbench.studies.samplers import WILCOXON_SEEDS
from mtlbench.studies.storage import Storage, open_storage
from mtlbench.studies.study import Study
from mtlbench.studies.worker import StudyAtWork, Worker

CELLS_AT_ONCE = 8
"""On Ray and Slurm, where the room there is can't be asked for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for beside the grid.

    Attributes:
        trials: of each study; None: as the grid says.
        storage: of Optuna: `store`, `journal` or a URL; None: by the store.
        parallel: cells at a time; None: as many as this machine has room for, `CELLS_AT_ONCE` elsewhere.
        fresh: forget earlier trials.
    """

    trials: int | None = None
    storage: str | None = None
    parallel: int | None = None
    fresh: bool = False


def tune(
    grid_path: str,
    runs: Runs,
    store: str | None,
    console: Console,
    *,
    wanted: Wanted,
    overrides: Sequence[str],
    plugins: Sequence[str],
    where: Where,
    yes: bool,
) -> int:
    """Carry out the grid's studies, compare what they found with the defaults; returns the exit code."""
    grid = load_grid(grid_path, registry, overrides=overrides, plugins=plugins)
    tracking.check(grid.execution.track)
    with mistakes_of(grid_path):
        plans = studies_of(grid, registry)
    storage = open_storage(wanted.storage, runs.root, store)
    with mistakes_of(grid_path):
        preflight.check_parts([c for plan in plans for c in plan.corners(plan.settings.seeds[0])])
        statuses = check_and_inspect(_first_cells(plans), runs, write=True).statuses
    for status in statuses:
        if status.state == "stale":
            log.warning("%s %s, and its scores are used as they are", status.cell.id, status.reason)
    trials = wanted.trials or plans[0].settings.trials
    _announce(grid, plans, trials, runs, console)
    count = trials * sum(len(plan.settings.seeds) for plan in plans)
    ask = count > commands.MANY_CELLS and not yes and console.is_terminal
    if ask and not Confirm.ask(f"Run {count} cells, and those of the comparison?", console=console):
        return commands.EXIT_DONE
    claims = Claims(runs)
    try:
        studies = [
            Study(plan, grid.name, storage, runs, claims, trials=trials, fresh=wanted.fresh) for plan in plans
        ]
        command = f"mtlbench tune {grid_path}"
        works = _carry_out(studies, grid, runs, claims, where, wanted, console)
        if works is None:
            return commands.stopped(console, command)
    finally:
        claims.release()
    return _conclude(works, grid, runs, where, storage, console, command)


def _carry_out(
    studies: list[Study],
    grid: Grid,
    runs: Runs,
    claims: Claims,
    where: Where,
    wanted: Wanted,
    console: Console,
) -> list[StudyAtWork] | None:
    """Run the trials that are missing; None where it was stopped."""
    cells = wanted.parallel or _room(where, grid.execution)
    with closing(make_executor(where, runs.root)) as executor:
        worker = Worker(studies, executor, runs, grid.execution, grid.plugins, claims, cells_at_once=cells)
        preflight.cache_data(_first_cells([study.plan for study in studies]).cells)
        with StudiesView(
            lambda: [study.record for study in studies], studies[0].trials, worker.cell, runs, console
        ) as view:
            progress = worker.run(view.update)
    runs.flush()
    return None if progress.interrupted else worker.studies


def _conclude(
    works: list[StudyAtWork],
    grid: Grid,
    runs: Runs,
    where: Where,
    storage: Storage,
    console: Console,
    command: str,
) -> int:
    """Write down what was found, and compare it with the defaults."""
    files = {work.study.plan.name: write_outcome(work.study, runs.root) for work in works}
    for work in works:
        if work.stopped:
            console.print(f"[red]{escape(work.study.plan.name)} was stopped[/]: {escape(work.stopped)}")
            console.print(
                f"Mend it, then `mtlbench rerun {escape(str(runs.root))} --failed`, then the same command "
                "(with --fresh where failed trials shall be forgotten)"
            )
    studies = [work.study for work in works if files[work.study.plan.name] is not None and not work.stopped]
    code = commands.EXIT_DONE if len(studies) == len(works) else commands.EXIT_SOME_FAILED
    if studies:
        code = max(code, _compare(studies, grid, runs, where, console, command))
    for file in filter(None, files.values()):
        console.print(f"Best setting: {escape(str(file))}", soft_wrap=True)
    console.print(
        f"Trials one by one: pip install optuna-dashboard; optuna-dashboard {escape(storage.place)}",
        soft_wrap=True,
    )
    return code


def _compare(
    studies: list[Study], grid: Grid, runs: Runs, where: Where, console: Console, command: str
) -> int:
    """Train defaults and tuned settings at equal budget, and report them as a grid."""
    comparison = compare_settings(grid, studies, registry)
    plan = comparison.plan
    statuses = check_and_inspect(plan, runs, write=True).statuses
    report = report_record(grid.report, plan.rows, registry)
    runs.save_grid(comparison.name, [row.record() for row in plan.rows], grid.published, report)
    for study in studies:
        study.compared_in(comparison.name)
    cells = costly_first([s.cell for s in statuses if commands.runs_now(s, runs)], registry)
    console.print(f"{escape(comparison.name)}: {len(plan.cells)} cells, {len(cells)} to run")
    progress = commands.execute(cells, runs, grid.execution, grid.plugins, where, console)
    ids = [cell.id for cell in plan.cells]
    code = commands.conclude(ids, progress, comparison.name, runs, console, command)
    if code != commands.EXIT_INTERRUPTED:
        _summarise(studies, comparison, runs, console)
    return code


def _summarise(studies: list[Study], comparison: Comparison, runs: Runs, console: Console) -> None:
    results = collect(runs, comparison.name)
    for study in studies:
        best, (default, tuned) = best_trial(study), comparison.rows[study.plan.name]
        assert best is not None
        console.print(f"[bold]{escape(study.plan.name)}[/] ({counts(study)})", soft_wrap=True)
        held = f"{study.settings.holdout:.0%} of the training images, held out"
        told = value_text(study.record, [best.number])
        defaults = value_text(study.record, [0]) or "failed"
        console.print(f"  {held}: trial {best.number} {told}; default {defaults}", soft_wrap=True)
        if tuned is None:
            console.print("  no trial was better than the default: there is nothing to compare")
        else:
            found = gains(results, default, tuned, study.higher)
            console.print(f"  validation images, tuned - default: {verdict(found)}", soft_wrap=True)


def _announce(grid: Grid, plans: list[StudyPlan], trials: int, runs: Runs, console: Console) -> None:
    settings = plans[0].settings
    number = f"{len(plans)} studies" if len(plans) > 1 else "1 study"
    console.print(
        f"{escape(grid.name)}: {number}, {trials} trials each, scored on {settings.holdout:.0%} of the "
        f"training images (held out), {seeds_text(settings.seeds)}"
    )
    for plan in plans:
        console.print(f"  {escape(plan.name)}: {escape(', '.join(plan.space))}", soft_wrap=True)
        if earlier := begun_otherwise(plan, grid.name, runs.root):
            log.warning(
                "space, objective, seeds or training have changed since %s: its trials are no "
                "match for new ones, and a new study begins",
                earlier,
            )
    if settings.pruner == "wilcoxon" and len(settings.seeds) < WILCOXON_SEEDS:
        log.warning(
            "pruner wilcoxon can't end a trial before its last seed with fewer than %d seeds, got %d",
            WILCOXON_SEEDS,
            len(settings.seeds),
        )


def _first_cells(plans: list[StudyPlan]) -> Plan:
    """What every study runs in any case: its baseline, and the trial with the defaults."""
    rows = []
    for plan in plans:
        settings = plan.settings
        for seed in settings.seeds:
            own = plan.cells(plan.defaults, seed, settings.holdout)
            if settings.objective == "delta_m":
                own = [*plan.baseline_cells(seed, settings.holdout), *own]
            rows.append(Row("candidate", {}, plan.tasks, cells={seed: own}))
    return Plan(rows)


def _room(where: Where, execution: Execution) -> int:
    """Cells that run at a time: with more trials at work, fewer would profit from what others found."""
    if where.executor != "local":
        return CELLS_AT_ONCE
    if where.jobs is not None:
        return where.jobs
    gpus = visible_gpus()
    if gpus:
        return max(1, int(len(gpus) / execution.gpu) // execution.devices)
    return max(1, usable_cores() // ((execution.threads or 1) * execution.devices))

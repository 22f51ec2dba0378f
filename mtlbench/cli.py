"""The command line: arguments in, exit code out. 0 all done, 1 some cells failed, 2 the input was wrong.

Heavy modules are imported by the command that needs them, so that `list` and `--help` answer at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from mtlbench import cli_data, cli_scores
from mtlbench.cli_options import (
    AddressOption,
    ExecutorOption,
    GridArgument,
    JobsOption,
    ParallelOption,
    PluginsOption,
    RunsArgument,
    RunsOption,
    SetOption,
    SlurmOption,
    StorageOption,
    StoreOption,
    console,
)
from mtlbench.errors import MtlbenchError
from mtlbench.files import is_full
from mtlbench.registry import FAMILIES

EXIT_WRONG_INPUT = 2
EXIT_DISK_FULL = 1

app = typer.Typer(
    name="mtlbench",
    help="Fair benchmarks of multi-task learning for dense prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cli_data.data, name="data")
LayoutOption = Annotated[
    Literal["auto", "comparison", "balancers", "protocols", "ablation", "tuning"] | None,
    typer.Option(help="Form of the table. Default: the grid's, or what it varies decides."),
]


def main() -> None:
    """Entry point."""
    sys.exit(run_from_arguments())


def run_from_arguments() -> int:
    """Carry out `sys.argv`; a user's mistake becomes one message on stderr and exit code 2."""
    _log_to_stderr()
    try:
        app()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else EXIT_WRONG_INPUT
    except MtlbenchError as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False
        )
        return EXIT_WRONG_INPUT
    except OSError as error:
        if not is_full(error):
            raise
        logging.getLogger("mtlbench").error("%s; nothing is lost: the same command goes on", error)
        return EXIT_DISK_FULL
    return 0


def _log_to_stderr() -> None:
    """Our own messages; libraries keep theirs to themselves below warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("mtlbench")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@app.command()
def run(
    grid: GridArgument,
    runs: RunsOption = Path("runs"),
    jobs: JobsOption = None,
    overrides: SetOption = None,
    plugins: PluginsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before large grids.")] = False,
    store: StoreOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    slurm: SlurmOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Slurm: print what would be submitted.")] = False,
) -> None:
    """Run a grid: compute what is not done yet, then write the report. Ctrl-C stops in good order."""
    from mtlbench import commands
    from mtlbench.executors.choose import Where
    from mtlbench.store import Runs

    code = commands.run(
        grid,
        Runs(runs, store),
        console,
        overrides=overrides or [],
        plugins=plugins or [],
        where=Where(executor, jobs, address, tuple(slurm or ()), dry_run),
        yes=yes,
    )
    raise typer.Exit(code)


@app.command()
def plan(
    grid: GridArgument,
    runs: RunsOption = Path("runs"),
    overrides: SetOption = None,
    plugins: PluginsOption = None,
    store: StoreOption = None,
    jobs: JobsOption = None,
    probe: Annotated[bool, typer.Option("--probe", help="Measure some steps of what was never run.")] = False,
) -> None:
    """Show every cell of a grid with its state (new, done, failed, stale, blocked, ...), why, and time."""
    from mtlbench import plan_command
    from mtlbench.store import Runs

    place = Runs(runs, store)
    plan_command.plan(
        grid, place, console, overrides=overrides or [], plugins=plugins or [], jobs=jobs, probe=probe
    )


@app.command()
def status(
    runs: RunsArgument = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="Name of one grid. Default: all.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Until nothing is left to run, or Ctrl-C.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 2.0,
    store: StoreOption = None,
) -> None:
    """Show how far the grids of a folder of runs are; also while they run, from wherever."""
    from mtlbench import status_command
    from mtlbench.store import Runs

    status_command.status(Runs(runs, store), console, grid=grid, watch=watch, interval=interval)


@app.command()
def report(
    runs: RunsArgument = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="Name of one grid. Default: all.")] = None,
    layout: LayoutOption = None,
    columns: Annotated[str | None, typer.Option(help="Of the table, a,b,c. Default: the layout's.")] = None,
    group: Annotated[str | None, typer.Option(help="Label by which lines stand together, or none.")] = None,
    spread: Annotated[
        Literal["std", "interval", "none"] | None, typer.Option(help="What stands behind means over seeds.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write tables, figures and the HTML page from what is in the store."""
    from mtlbench import report_command
    from mtlbench.store import Runs

    look = {"layout": layout, "columns": columns, "group": group, "spread": spread}
    report_command.report(Runs(runs, store), console, grid=grid, look=look)


@app.command()
def profile(
    grid: GridArgument,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Measure time and memory, too.")] = True,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. Default: a GPU if any.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH. Default: the data set's.")] = None,
    repeat: Annotated[
        int, typer.Option("--runs-per-measure", min=1, help="Passes that a median is taken of.")
    ] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the table to a .csv, .md or .json file.")] = None,
    overrides: SetOption = None,
    plugins: PluginsOption = None,
) -> None:
    """Parameters, multiply-accumulates, time and memory of a grid's networks, beside published numbers."""
    from mtlbench import profile_command

    request = profile_command.Request(time, device, batch, size, repeat, out)
    code = profile_command.profile(grid, console, request, overrides=overrides or [], plugins=plugins or [])
    raise typer.Exit(code)


@app.command()
def rerun(
    runs: RunsArgument = Path("runs"),
    failed: Annotated[
        bool, typer.Option("--failed", help="Cells that failed, from their checkpoints.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Cells whose code or data changed, from the start.")
    ] = False,
    jobs: JobsOption = None,
    store: StoreOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    slurm: SlurmOption = None,
) -> None:
    """Run failed or stale cells again, and what waited for them."""
    from mtlbench import commands
    from mtlbench.executors.choose import Where
    from mtlbench.store import Runs

    where = Where(executor, jobs, address, tuple(slurm or ()))
    place = Runs(runs, store)
    raise typer.Exit(commands.rerun(place, console, failed=failed, stale=stale, where=where))


@app.command()
def tune(
    grid: GridArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Of each study. Default: the grid's.")] = None,
    runs: RunsOption = Path("runs"),
    storage: StorageOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the trials of earlier calls.")] = False,
    jobs: JobsOption = None,
    overrides: SetOption = None,
    plugins: PluginsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before many cells.")] = False,
    store: StoreOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    slurm: SlurmOption = None,
    parallel: ParallelOption = None,
) -> None:
    """Tune task weights or other options on held-out training images, then compare with the defaults."""
    from mtlbench import tune_command
    from mtlbench.executors.choose import Where
    from mtlbench.store import Runs

    code = tune_command.tune(
        grid,
        Runs(runs, store),
        store,
        console,
        wanted=tune_command.Wanted(trials, storage, parallel, fresh),
        overrides=overrides or [],
        plugins=plugins or [],
        where=Where(executor, jobs, address, tuple(slurm or ())),
        yes=yes,
    )
    raise typer.Exit(code)


@app.command()
def reindex(runs: RunsArgument = Path("runs"), store: StoreOption = None) -> None:
    """Build the index anew from the run folders."""
    from mtlbench.store import Runs

    console.print(f"{Runs(runs, store).reindex()} cells indexed")


@app.command("run-cell", hidden=True)
def run_cell(job: Annotated[Path, typer.Argument(help="job.json of a run folder.")]) -> None:
    """Run one cell in this process; the grid's driver starts it."""
    from mtlbench import cell
    from mtlbench.folder import read_job

    raise typer.Exit(cell.run_cell(read_job(job)))


@app.command("list")
def list_plugins(
    family: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(FAMILIES)}, metric (or its plural).")
    ] = None,
    task: Annotated[str | None, typer.Argument(help="Of metrics: those of one task.")] = None,
    options: Annotated[bool, typer.Option("--options", help="Show options with types and defaults.")] = False,
    plugins: PluginsOption = None,
) -> None:
    """List plugins with what they are and where they come from, or metrics with what they measure."""
    from mtlbench import list_command

    list_command.list_plugins(family, task, console, options=options, plugins=plugins or [])


app.command()(cli_scores.evaluate)
app.command("score-boundaries")(cli_scores.score_boundaries)
app.command()(cli_scores.export)
app.command()(cli_scores.compare)

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
from rich.table import Table

from mtlbench.errors import MtlbenchError
from mtlbench.registry import FAMILIES, Plugin, registry, unknown

EXIT_WRONG_INPUT = 2
METRICS = ("metric", "metrics")

app = typer.Typer(
    name="mtlbench",
    help="Fair benchmarks of multi-task learning for dense prediction.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data = typer.Typer(help="Make or check data.", no_args_is_help=True)
app.add_typer(data, name="data")

GridArgument = Annotated[
    str, typer.Argument(metavar="GRID", help="A grid file, or the name of a ready grid.")
]
RunsOption = Annotated[
    Path, typer.Option("--runs", help="Folder of all runs; finished cells there are used again.")
]
RunsArgument = Annotated[Path, typer.Argument(metavar="RUNS", help="A folder of runs.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. recipe.iterations=50."),
]
PluginsOption = Annotated[
    list[str] | None, typer.Option("--plugins", help="A Python file that holds plugins.")
]
JobsOption = Annotated[int | None, typer.Option(help="Cells at a time. Default: the GPUs, or the cores.")]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="MTLBENCH_STORE", help="Database URL. Default: SQLite in RUNS."),
]

_console = Console(width=None if sys.stdout.isatty() else 150)


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
) -> None:
    """Run a grid: compute what is not done yet, then write the report. Ctrl-C stops in good order."""
    from mtlbench import commands

    code = commands.run(
        grid,
        commands.runs_at(runs, store),
        _console,
        overrides=overrides or [],
        plugins=plugins or [],
        jobs=jobs,
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
) -> None:
    """Show every cell of a grid with its state: new, interrupted, running, failed, stale, done or skipped."""
    from mtlbench import commands

    place = commands.runs_at(runs, store)
    raise typer.Exit(commands.plan(grid, place, _console, overrides=overrides or [], plugins=plugins or []))


@app.command()
def status(runs: RunsArgument = Path("runs"), store: StoreOption = None) -> None:
    """Show how far the grids of a folder of runs are."""
    from mtlbench import commands

    raise typer.Exit(commands.status(commands.runs_at(runs, store), _console))


@app.command()
def report(
    runs: RunsArgument = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="Name of one grid. Default: all.")] = None,
    store: StoreOption = None,
) -> None:
    """Write tables, figures and the HTML page from what is in the store."""
    from mtlbench import commands

    raise typer.Exit(commands.report(commands.runs_at(runs, store), _console, grid=grid))


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
) -> None:
    """Run failed or stale cells again, and only those."""
    from mtlbench import commands

    raise typer.Exit(
        commands.rerun(commands.runs_at(runs, store), _console, failed=failed, stale=stale, jobs=jobs)
    )


@app.command()
def reindex(runs: RunsArgument = Path("runs"), store: StoreOption = None) -> None:
    """Build the index anew from the run folders."""
    from mtlbench import commands

    _console.print(f"{commands.runs_at(runs, store).reindex()} cells indexed")


@data.command("make")
def make_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set that can be made: rooms.")],
    root: Annotated[str, typer.Option(help="Folder to write to.")] = "data/rooms",
    layout: Annotated[str | None, typer.Option(help="Write it as another data set's files.")] = None,
    train: Annotated[int, typer.Option(help="Training images.")] = 1000,
    val: Annotated[int, typer.Option(help="Validation images.")] = 200,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH. Default: 96x128, or the layout's own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 0,
) -> None:
    """Make synthetic data, in its own form or in the exact layout of another data set."""
    dataset = registry.load("dataset", name)
    dataset.make(root=root, layout=layout, train=train, val=val, size=size, seed=seed)
    _console.print(f"{train} training and {val} validation images of {escape(name)} in {escape(root)}")


@data.command("check")
def check_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set.")],
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Its folder.")],
    samples: Annotated[int | None, typer.Option(min=1, help="Read only so many of each split.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Of the data set.")
    ] = None,
) -> None:
    """Check a data set: files, sizes, values, splits, checksums; exit code 1 when something is damaged."""
    from mtlbench import data_commands

    raise typer.Exit(data_commands.check(name, root, _console, count=samples, options=options or []))


@app.command("score-boundaries")
def score_boundaries(
    predictions: Annotated[
        Path, typer.Argument(metavar="PRED_DIR", help="Predictions: 8-bit .png, or .npy.")
    ],
    truths: Annotated[Path, typer.Argument(metavar="GT_DIR", help="Ground truths: .png, .npy or .mat.")],
    protocol: Annotated[
        str, typer.Option(help="edge.seism.nyud, edge.seism.pascal, edge.mti.pascal or edge.bsds.")
    ] = "edge.seism.nyud",
    truth: Annotated[
        Literal["edges", "labels", "boundaries"] | None,
        typer.Option(help="What ground truths hold. Default: the protocol's."),
    ] = None,
    max_dist: Annotated[
        float | None, typer.Option(help="Largest distance of matched pixels, as a share of the diagonal.")
    ] = None,
    nms: Annotated[
        bool | None, typer.Option("--nms/--no-nms", help="Non-maximum suppression of predictions.")
    ] = None,
    thresholds: Annotated[int | None, typer.Option(help="So many evenly spaced ones.")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="A file that names the images to score, one a line. Default: all.")
    ] = None,
    plot: Annotated[Path, typer.Option(help="Where to draw precision over recall.")] = Path("boundaries.png"),
    jobs: Annotated[int | None, typer.Option(help="Images at a time. Default: the cores.")] = None,
) -> None:
    """Score a folder of predicted boundaries: odsF, oisF, AP and the precision-recall curve."""
    from mtlbench.boundary import command

    changed = command.changed_protocol(
        protocol, max_dist=max_dist, nms=nms, thresholds=thresholds, truth=truth
    )
    command.score_folders(predictions, truths, changed, _console, ids=ids, plot=plot, jobs=jobs)


@app.command("run-cell", hidden=True)
def run_cell(job: Annotated[Path, typer.Argument(help="job.json of a run folder.")]) -> None:
    """Run one cell in this process; the grid's driver starts it."""
    from mtlbench import cell

    raise typer.Exit(cell.run_cell(cell.read_job(job)))


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
    if family in METRICS:
        _list_metrics(task)
        return
    if task is not None:
        raise MtlbenchError(f"only `list metrics` takes a task, got `list {family} {task}`")
    for file in plugins or []:
        registry.add_file(file)
    families = FAMILIES if family is None else (_family(family),)
    for name in families:
        table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
        for plugin in registry.offered(name):
            table.add_row(escape(plugin.name), escape(plugin.summary), f"[dim]{escape(plugin.origin)}[/]")
            shown = options and "*" not in plugin.name
            for line in _option_lines(registry.get(name, plugin.name)) if shown else []:
                table.add_row("", f"[cyan]{escape(line)}[/]", "")
        _console.print(table)


def _family(name: str) -> str:
    singular = name.removesuffix("s")
    if singular not in FAMILIES:
        raise MtlbenchError(unknown("plugin family", name, (*FAMILIES, "metric")))
    return singular


def _list_metrics(task: str | None) -> None:
    """A table for each task: name, what it measures, range, who publishes it."""
    from mtlbench import catalogue

    if task is not None and task not in catalogue.tasks():
        raise MtlbenchError(unknown("task", task, catalogue.tasks()))
    for name in catalogue.tasks() if task is None else (task,):
        table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
        for variant in catalogue.variants(name):
            better = "higher" if variant.higher_is_better else "lower"
            facts = f"{variant.range}, {better} is better; {variant.published_by}"
            table.add_row(escape(variant.name), escape(variant.summary), f"[dim]{escape(facts)}[/]")
        _console.print(table)


def _option_lines(plugin: Plugin) -> list[str]:
    lines = []
    for option in plugin.options().values():
        kind = getattr(option.annotation, "__name__", None)
        shown = (
            kind
            if isinstance(option.annotation, type) and kind
            else str(option.annotation).replace("typing.", "")
        )
        lines.append(f"{option.name}: {shown}" + ("" if option.required else f" = {option.default!r}"))
    return lines

"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

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
ExecutorOption = Annotated[
    Literal["local", "ray", "slurm"], typer.Option(help="Where cells run: this machine, Ray, Slurm.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Of Ray: HOST:PORT, auto, or local. Default: RAY_ADDRESS, or local.")
]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="KEY=VALUE", help="Of Slurm's jobs, e.g. partition=gpu."),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="MTLBENCH_STORE", help="Database URL. Default: SQLite in RUNS."),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="store|journal|URL",
        help="Where Optuna keeps studies. Default: the store if it is PostgreSQL, else a file in RUNS.",
    ),
]
ParallelOption = Annotated[
    int | None, typer.Option(min=1, help="Cells of studies at a time, on Ray and Slurm. Default: 8.")
]

console = Console(width=None if sys.stdout.isatty() else 150)

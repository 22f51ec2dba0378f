"""`mtlbench data`: make data, or check it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from mtlbench.cli_options import console
from mtlbench.registry import registry

data = typer.Typer(help="Make or check data.", no_args_is_help=True)


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
    console.print(f"{train} training and {val} validation images of {escape(name)} in {escape(root)}")


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

    raise typer.Exit(data_commands.check(name, root, console, count=samples, options=options or []))

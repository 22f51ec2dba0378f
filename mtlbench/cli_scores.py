"""Commands on scores: of a network from a file, of a folder of boundaries, of all that was run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtlbench.cli_options import PluginsOption, RunsArgument, StoreOption, console
from mtlbench.registry import registry


def evaluate(
    method: Annotated[str, typer.Option(help="The architecture.")],
    weights: Annotated[str, typer.Option(help="File with the whole network: .safetensors, .pth or .ckpt.")],
    dataset: Annotated[str, typer.Option(help="The data set; its validation images are scored.")],
    root: Annotated[str | None, typer.Option(help="The data set's folder.")] = None,
    variant: Annotated[str | None, typer.Option(help="Of the method: published for released files.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Default: the one that the file holds.")] = None,
    tasks: Annotated[str | None, typer.Option(help="The network's, a,b,c. Default: the data set's.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Of the method.")
    ] = None,
    data_options: Annotated[
        list[str] | None, typer.Option("--data-option", metavar="KEY=VALUE", help="Of the data set.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    out: Annotated[Path | None, typer.Option(help="A JSON file for all metrics.")] = None,
    every_metric: Annotated[bool, typer.Option("--all", help="Print every metric.")] = False,
    plugins: PluginsOption = None,
) -> None:
    """Score a network from a file: one of ours, or one that a method's authors released."""
    from mtlbench import evaluate_command
    from mtlbench.options import parse_assignment

    for file in plugins or []:
        registry.add_file(file)
    given = dict(map(parse_assignment, options or []))
    data = dict(map(parse_assignment, data_options or []))
    evaluate_command.evaluate(
        console,
        method=method,
        weights=weights,
        backbone=backbone,
        method_options=given if variant is None else {**given, "variant": variant},
        dataset=dataset,
        dataset_options=data if root is None else {**data, "root": root},
        tasks=tasks.split(",") if tasks else None,
        batch_size=batch_size,
        out=out,
        every_metric=every_metric,
    )


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
    command.score_folders(predictions, truths, changed, console, ids=ids, plot=plot, jobs=jobs)


def export(
    runs: RunsArgument,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv, .parquet or .json.")],
    grid: Annotated[str | None, typer.Option(help="Only this grid. Default: all cells.")] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="Losses, weights and gradient norms instead of scores.")
    ] = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Also trials of studies, scored on held-out images.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Write all scores, or all curves, to one file for other programs."""
    from mtlbench import export_command

    export_command.export(runs, out, console, url=store, grid=grid, held_out=held_out, curves=curves)


def compare(
    a: Annotated[Path, typer.Argument(metavar="RUNS_A", help="A folder of runs.")],
    b: Annotated[Path, typer.Argument(metavar="RUNS_B", help="Another one.")],
    grid: Annotated[str | None, typer.Option(help="Only this grid. Default: all cells.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it to a .md or .csv file.")] = None,
    store: StoreOption = None,
) -> None:
    """The same settings in two folders of runs: what scores, code, versions and hardware differ by."""
    from mtlbench import compare_command

    compare_command.compare_folders(a, b, console, url=store, grid=grid, out=out)

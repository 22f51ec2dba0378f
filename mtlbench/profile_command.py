"""What `mtlbench profile` does; `mtlbench.cli` handles arguments."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.image_size import input_size, parse_size, size_text
from mtlbench.plan import expand
from mtlbench.profiling.apart import Failed
from mtlbench.profiling.lines import (
    COUNTED,
    TIMED,
    Line,
    count_line,
    different_networks,
    measure_cells,
)
from mtlbench.profiling.timing import WARM_UPS, Load
from mtlbench.published_numbers import PublishedRow, chosen_tables, read_published
from mtlbench.registry import registry

FORMATS = (".csv", ".md", ".json")
EXIT_DONE, EXIT_SOME_FAILED = 0, 1


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None: what follows from grid and machine."""

    timed: bool = True
    device: str | None = None
    batch: int | None = None
    size: str | None = None
    runs: int = 5
    out: Path | None = None


def profile(
    grid_path: str, console: Console, request: Request, *, overrides: Sequence[str], plugins: Sequence[str]
) -> int:
    """Count and measure every different network of a grid; print the table, and write it where asked to."""
    device = _check(request)
    grid = load_grid(grid_path, registry, overrides=overrides, plugins=plugins)
    datasets = [dataset.choice.name for dataset in grid.datasets]
    rows = expand(grid, registry).rows
    layout = "tuning" if len({row.labels["tuning"] for row in rows}) > 1 else "comparison"
    table = [row for name in chosen_tables(grid.published, datasets, layout) for row in read_published(name)]
    lines = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        work = progress.add_task("")
        for labels, cells in different_networks(rows, TIMED if request.timed else COUNTED):
            progress.update(work, description=f"{labels['method']} on {labels['backbone']}")
            size = parse_size(request.size) if request.size else input_size(cells[0].dataset)
            line = count_line(labels, cells, size, table)
            if request.timed:
                recipe = cells[0].recipe
                load = Load(
                    size, request.batch or recipe.batch_size // recipe.accumulate, request.runs, device
                )
                line = replace(line, load=load, timing=measure_cells(cells, load))
            lines.append(line)
    if not lines:
        raise MtlbenchError(f"{grid_path} has no network to profile")
    console.print(_rich(grid.name, lines))
    for note in _notes(lines, table):
        console.print(Text(note, style="dim"), soft_wrap=True)
    if request.out:
        _write(request.out, lines)
        console.print(Text(f"written: {request.out}"), soft_wrap=True)
    return EXIT_SOME_FAILED if any(isinstance(line.timing, Failed) for line in lines) else EXIT_DONE


def _check(request: Request) -> str:
    """The device, after all wrong arguments have been found, together."""
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    problems = []
    if kind not in WARM_UPS or (index and not index.isdigit()):
        problems.append(f"--device must be cpu, cuda or cuda:N, got {device!r}")
    elif kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        problems.append(f"--device {device}: this machine has {torch.cuda.device_count()} such devices")
    if request.out and request.out.suffix not in FORMATS:
        problems.append(f"--out must end with {', '.join(FORMATS)}, got {request.out}")
    if request.size:
        try:
            parse_size(request.size)
        except MtlbenchError as error:
            problems.append(f"--size: {error}")
    if problems:
        raise MtlbenchError("\n".join(problems))
    return device


@dataclass(frozen=True)
class Column:
    """One column of the printed table."""

    title: str
    show: Callable[[Line], str]
    numeric: bool = True


def _columns(lines: Sequence[Line]) -> list[Column]:
    """Those that hold something: labels that vary, published numbers and timings where there are any."""
    shown = ("backbone", "method")
    axes = [a for a in lines[0].labels if a in shown or len({line.labels[a] for line in lines}) > 1]
    columns = [Column(axis, lambda line, a=axis: line.labels[a], numeric=False) for axis in axes]  # type: ignore[misc]
    columns.append(Column("params\nM", lambda line: f"{line.counts.parameters / 1e6:.2f}"))
    if any(line.parameters_off is not None for line in lines):
        columns.append(Column("publ.\nM", lambda line: _printed(line, "params_m")))
        columns.append(Column("diff.\n%", lambda line: _signed(line.parameters_off)))
    columns += _tuning_columns(lines)
    columns.append(Column("module\nGMACs", lambda line: f"{_compared(line) / 1e9:.2f}"))
    if any(line.macs_off is not None for line in lines):
        columns.append(Column("publ.\nGFLOPs", lambda line: _printed(line, "gflops")))
        columns.append(Column("diff.\n%", lambda line: _signed(line.macs_off)))
    columns.append(Column("all\nGMACs", lambda line: f"{line.counts.macs / 1e9:.2f}"))
    if any(line.timing for line in lines):
        columns += [
            Column("latency\nms", lambda line: _timed(line, "latency_ms")),
            Column("images\n/s", lambda line: _timed(line, "images_per_second")),
            Column("training\nms/step", lambda line: _timed(line, "step_ms")),
            Column("inference\nMB", lambda line: _timed(line, "inference_mb")),
            Column("training\nMB", lambda line: _timed(line, "training_mb")),
        ]
    return columns


def _tuning_columns(lines: Sequence[Line]) -> list[Column]:
    """What trains, and how often the encoder runs, where something is frozen, added or printed."""
    if all(
        x.counts.trainable == x.counts.parameters and not (x.published and x.published.tuning) for x in lines
    ):
        return []
    columns = [Column("trained:\nencoder M", lambda line: _millions(line.counts.encoder_trainable / 1e6))]
    if any(line.encoder_trained_off is not None for line in lines):
        columns.append(Column("publ.\nM", lambda line: _printed_millions(line, "encoder_trainable_m")))
        columns.append(Column("diff.\nM", lambda line: _millions(line.encoder_trained_off, signed=True)))
    columns.append(Column("decoder\nM", lambda line: _millions(line.counts.decoder_trainable / 1e6)))
    columns.append(Column("total\nM", lambda line: _millions(line.counts.trainable / 1e6)))
    if any(line.trained_off is not None for line in lines):
        columns.append(Column("publ.\nM", lambda line: _printed_millions(line, "total_trainable_m")))
        columns.append(Column("diff.\nM", lambda line: _millions(line.trained_off, signed=True)))
    columns.append(Column("single\ninference", lambda line: "yes" if line.single_inference else "no"))
    return columns


def _printed_millions(line: Line, name: str) -> str:
    return _millions(getattr(line.published, name, None))


def _millions(value: float | None, *, signed: bool = False) -> str:
    return "-" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"


def _compared(line: Line) -> int:
    return line.counts.module_macs if line.compared is None else line.compared


def _printed(line: Line, name: str) -> str:
    return _number(getattr(line.published, name, None))


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else "-"


def _signed(value: float | None) -> str:
    return f"{value:+.2f}" if value is not None else "-"


def _timed(line: Line, name: str) -> str:
    value = getattr(line.timing, name, None)
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _rich(title: str, lines: Sequence[Line]) -> Table:
    """Texts, never markup: a label may hold brackets."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = _columns(lines)
    for column in columns:
        justify: Any = "right" if column.numeric else "left"
        table.add_column(column.title, justify=justify, no_wrap=column.numeric, overflow="fold")
    for line in lines:
        table.add_row(*(Text(column.show(line)) for column in columns))
    return table


def _notes(lines: Sequence[Line], table: Sequence[PublishedRow]) -> list[str]:
    """What the numbers mean nothing without, remarks on published rows, and the rows that are not here."""
    sizes = ", ".join(sorted({str(size_text(line.size)) for line in lines}))
    notes = [
        f"One image of {sizes}. Module MACs: modules as hooks see them; all MACs: convolutions and all "
        "matrix products. A row of several networks has their sums, of memory the largest."
    ]
    loads = sorted({line.load for line in lines if line.load}, key=lambda load: load.batch)
    notes += [
        f"Measured on {_device_name(load.device)}: latency and inference memory of one image, throughput "
        f"and training at batch {load.batch}; medians of {load.runs}."
        for load in loads
    ]
    several = len({line.labels["tuning"] for line in lines}) > 1
    for line in lines:
        name = f"{line.labels['method']} on {line.labels['backbone']}"
        name += f", {line.labels['tuning']}" if several else ""
        notes += [f"{name}: {note}" for note in _notes_of(line)]
    if _tuning_columns(lines):
        notes.append(
            "Trained: of the encoder (printed: without that paper's decoders), and of the whole network. "
            "Single inference: whether one pass of one encoder serves all tasks, as counted."
        )
    found = {(line.published.model, line.published.backbone) for line in lines if line.published}
    for row in table:
        if (row.model, row.backbone) not in found:
            numbers = f"{_number(row.params_m)} M, {_number(row.gflops)} GFLOPs" if row.params_m else ""
            numbers += f"trains {_number(row.trainable_m)} M" if row.trainable_m else ""
            told = "; ".join(filter(None, (numbers, row.remark)))
            notes.append(f"not in this grid: {row.model} on {row.backbone}" + (f": {told}" if told else ""))
    return notes


def _notes_of(line: Line) -> Iterator[str]:
    """What a reader must know of one line."""
    published, timing = line.published, line.timing
    if isinstance(timing, Failed):
        yield f"not measured: {timing.reason}"
    elif timing and timing.not_merged:
        yield f"inference was not merged: {timing.not_merged}"
    if published is None:
        return
    if published.counted_at and published.counted_at != line.size:
        yield f"module MACs at {size_text(published.counted_at)}, as the published number"
    if published.single_inference not in ("", "yes" if line.single_inference else "no"):
        yield f"single inference is printed as {published.single_inference}"
    if published.remark:
        yield published.remark


def _device_name(device: str) -> str:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.get_device_name(int(index or 0))
    return f"the CPU with {torch.get_num_threads()} threads"


def _write(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [line.record() for line in lines]
    if path.suffix == ".json":
        path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    elif path.suffix == ".md":
        path.write_text(_markdown(lines), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, records[0])
            writer.writeheader()
            writer.writerows(records)


def _markdown(lines: Sequence[Line]) -> str:
    columns = _columns(lines)
    head = [column.title.replace("\n", " ") for column in columns]
    rule = ["---:" if column.numeric else ":---" for column in columns]
    body = [[column.show(line).replace("|", r"\|") for column in columns] for line in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *body))

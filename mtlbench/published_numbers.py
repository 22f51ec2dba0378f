"""Tables of papers, number for number: the files `reports/published/NAME.csv`, described in `tables.yaml`.

A file has a line per row of the table. Columns:

* `model`, `backbone`: as printed; `model` where a table prints options alone: what rows of the ready grid
  are called.
* `part`, `setting`: as printed, in tables of ablations: the part of the table, and the options of a row.
* `balancer`, `tuning`: where rows differ in them: what rows of ours are called.
* `dataset`: as labels of the data set begin, in lower case, where a table says it.
* `experiment`: its number, in tables that train one model in several ways: a row's protocol label.
* `params_m`, `gflops_as_printed`: millions of parameters, and what the paper calls GFLOPs.
* `trainable_m`, `single_inference`: millions of trainable parameters; whether one pass gives all tasks.
* `decoders_m`: millions of these that are decoders: 0 where a paper leaves them out; empty: not known.
* `counted_at`: HEIGHTxWIDTH of the image whose operations were counted, where known.
* `variants`: what a row's numbers are where that isn't what `tables.yaml` says of their columns, as
  COLUMN=VARIANT; `?` is a variant that nobody knows, and `?mIoU` one of this kind.
* `source`: where a row comes from, where the table's own source is not enough.
* `remark`: what a reader must know, above all why no known code gives the row's numbers.
* all others: metrics, TASK_METRIC_UNIT, `delta_m_percent`. Units: `percent`, `m` (metres), `deg` (degrees),
  `disparity` (as stored).

An empty field is a dash in the paper; a column may be absent.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mtlbench.errors import MtlbenchError
from mtlbench.naming import same_name
from mtlbench.registry import unknown

FOLDER = files("mtlbench.reports") / "published"
AUTO = "auto"
"""In place of a table's name: all of the grid's data sets that have the form of the grid's report."""
FACTS = (
    "dataset",
    "experiment",
    "part",
    "setting",
    "model",
    "backbone",
    "balancer",
    "tuning",
    "params_m",
    "gflops_as_printed",
    "trainable_m",
    "decoders_m",
    "single_inference",
    "counted_at",
    "variants",
    "source",
    "remark",
)
DELTA_M = "delta_m_percent"
UNKNOWN_VARIANT = "?"


@dataclass(frozen=True)
class PublishedTable:
    """What is true of all rows of a table.

    Attributes:
        source: the publication.
        part: where in it.
        layout: the form in which a report of ours would print it.
        datasets: names of our data sets that it is about.
        metrics: column -> full name of the metric variant.
        remark: what a reader must know.
    """

    name: str
    source: str
    part: str
    layout: str
    datasets: tuple[str, ...]
    metrics: Mapping[str, str]
    remark: str = ""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper's table; None: a dash, or not known; `printed`: metrics as the paper has them."""

    model: str
    backbone: str
    params_m: float | None = None
    gflops: float | None = None
    counted_at: tuple[int, int] | None = None
    remark: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    printed: Mapping[str, str] = field(default_factory=dict, compare=False)
    variants: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Column -> full name of the metric variant of this row's number."""
    experiment: str = ""
    dataset: str = ""
    part: str = ""
    setting: str = ""
    balancer: str = ""
    tuning: str = ""
    trainable_m: float | None = None
    decoders_m: float | None = None
    single_inference: str = ""
    source: str = ""

    @property
    def name(self) -> str:
        """What tells it from the table's other rows of the same backbone."""
        if self.part:
            return f"{self.part}: {self.setting}"
        return self.experiment or self.model

    @property
    def encoder_trainable_m(self) -> float | None:
        """Millions of trainable parameters without decoders."""
        if self.trainable_m is None or self.decoders_m is None:
            return None
        return max(0.0, round(self.trainable_m - self.decoders_m, 6))

    @property
    def total_trainable_m(self) -> float | None:
        """Millions of all trainable parameters, None where the paper leaves decoders out."""
        return None if self.decoders_m == 0 else self.trainable_m

    def scored(self) -> set[str]:
        """The columns of tasks in which it has a number."""
        return {key for key, value in self.metrics.items() if value is not None and key != DELTA_M}


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """Name -> what the table is."""
    content: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "tables.yaml").read_text(encoding="utf-8"))
    return {
        name: PublishedTable(name, **{**facts, "datasets": tuple(facts["datasets"])})
        for name, facts in sorted(content.items())
    }


@cache
def published_names() -> list[str]:
    """Names of the tables there are, and of their parts: `degmix_table5_ablations.5b_depth`."""
    names = []
    for name in published_tables():
        parts = dict.fromkeys(row.part for row in _rows(name) if row.part)
        names += [name, *(f"{name}.{part}" for part in parts)]
    return names


def chosen_tables(names: Iterable[str], datasets: Iterable[str], layout: str) -> list[str]:
    """The tables that are meant: those named, and with `auto` those of the data sets that fit the layout."""
    wanted, chosen = {*datasets}, []
    for name in names:
        if name == AUTO:
            tables = published_tables().values()
            chosen += [t.name for t in tables if t.layout == layout and wanted & {*t.datasets}]
        else:
            chosen.append(name)
    return list(dict.fromkeys(chosen))


def table_of(name: str) -> PublishedTable:
    """What a table, or the table of a part, is.

    Raises:
        MtlbenchError: there is no such table.
    """
    if name not in published_names():
        raise MtlbenchError(unknown("published table", name, published_names()))
    return published_tables()[name.partition(".")[0]]


def read_published(name: str) -> list[PublishedRow]:
    """All rows of a table, or of a part of it.

    Raises:
        MtlbenchError: there is no such table.
    """
    table, part = table_of(name), name.partition(".")[2]
    return [row for row in _rows(table.name) if part in ("", row.part)]


def find_published(
    rows: Sequence[PublishedRow], model: str, backbones: Sequence[str], experiment: str = ""
) -> PublishedRow | None:
    """The row of a model (by a method's label) on a backbone (by its label or name, `swin-t` for Swin-T).

    Names need not be spelt alike (`mtlbench.naming`); a row that is comes first. Tables of experiments have
    one of each.
    """
    on = [row for row in rows if any(same_name(row.backbone, backbone) for backbone in backbones)]
    found = [row for row in on if row.experiment == experiment and same_name(row.model, model)]
    return next((row for row in found if row.model == model), next(iter(found), None))


def find_tuned(rows: Sequence[PublishedRow], tuning: str, backbones: Sequence[str]) -> PublishedRow | None:
    """The row of a tuning (by its label) on a backbone."""
    on = [row for row in rows if any(same_name(row.backbone, backbone) for backbone in backbones)]
    return next((row for row in on if row.tuning and same_name(row.tuning, tuning)), None)


def _rows(name: str) -> list[PublishedRow]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8") as file:
        return [_row(line, published_tables()[name]) for line in csv.DictReader(file)]


def _row(line: dict[str, str], table: PublishedTable) -> PublishedRow:
    printed = {key: value for key, value in line.items() if key not in FACTS}
    height, _, width = line.get("counted_at", "").partition("x")
    own = dict(pair.split("=") for pair in line.get("variants", "").split())
    texts = ("model", "backbone", "remark", "experiment", "dataset", "part", "setting", "balancer", "tuning")
    return PublishedRow(
        **{name: line.get(name, "") for name in (*texts, "single_inference", "source")},
        params_m=_number(line.get("params_m", "")),
        gflops=_number(line.get("gflops_as_printed", "")),
        trainable_m=_number(line.get("trainable_m", "")),
        decoders_m=_number(line.get("decoders_m", "")),
        counted_at=(int(height), int(width)) if width else None,
        metrics={key: _number(value) for key, value in printed.items()},
        printed=printed,
        variants={**table.metrics, **own},
    )


def _number(text: str) -> float | None:
    return float(text) if text else None

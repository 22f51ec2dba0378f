"""The lines of a profile: each different network of a grid, or the networks of a single-task row together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from mtlbench.image_size import Size, size_text
from mtlbench.plan import Row
from mtlbench.profiling.apart import Failed, measure_apart
from mtlbench.profiling.networks import Counts, count_cell, has_parameters
from mtlbench.profiling.timing import Load, Timing
from mtlbench.published_numbers import PublishedRow, find_published, find_tuned
from mtlbench.spec import Cell

COUNTED = ("dataset", "backbone", "method", "tuning")
TIMED = (*COUNTED, "recipe")
"""What counts, and times, depend on; balancers are not measured."""


@dataclass(frozen=True)
class Line:
    """What was counted and measured of one row.

    Attributes:
        labels: axis -> label.
        networks: how many the row has; times add up, memory is the largest.
        size: of the image whose operations `counts` has, and of all measurements.
        counts: of all networks together.
        compared: module MACs at the size that the published number is for.
        load: what timings were made with; the batch follows the recipe where none was given.
    """

    labels: dict[str, str]
    networks: int
    size: Size
    counts: Counts
    published: PublishedRow | None = None
    compared: int | None = None
    load: Load | None = None
    timing: Timing | Failed | None = None

    @property
    def parameters_off(self) -> float | None:
        """Our parameters against the published number, percent."""
        printed = self.published.params_m if self.published else None
        return None if not printed else 100 * (self.counts.parameters / 1e6 / printed - 1)

    @property
    def single_inference(self) -> bool:
        """Whether one pass of one encoder serves all tasks."""
        return self.networks == 1 and self.counts.encoder_passes <= 1

    @property
    def trained_off(self) -> float | None:
        """All our trainable parameters against the published number that counts decoders, millions."""
        printed = self.published.total_trainable_m if self.published else None
        return None if printed is None else self.counts.trainable / 1e6 - printed

    @property
    def encoder_trained_off(self) -> float | None:
        """The encoder's, against the published number without its decoders, millions."""
        printed = self.published.encoder_trainable_m if self.published else None
        return None if printed is None else self.counts.encoder_trainable / 1e6 - printed

    @property
    def macs_off(self) -> float | None:
        """Our module MACs, at the published number's size, against that number, percent."""
        printed = self.published.gflops if self.published else None
        return None if not printed or self.compared is None else 100 * (self.compared / 1e9 / printed - 1)

    def record(self) -> dict[str, Any]:
        """As files hold it: full numbers, units in the names, None where there is no number."""
        published, timing, load = self.published, self.timing, self.load
        timed = timing if isinstance(timing, Timing) else None
        return {
            **self.labels,
            "networks": self.networks,
            "input_size": size_text(self.size),
            "parameters": self.counts.parameters,
            "encoder_trainable": self.counts.encoder_trainable,
            "decoder_trainable": self.counts.decoder_trainable,
            "total_trainable": self.counts.trainable,
            "encoder_passes": self.counts.encoder_passes,
            "single_inference": self.single_inference,
            "macs": self.counts.macs,
            "module_macs": self.counts.module_macs,
            "published_params_m": published.params_m if published else None,
            "parameters_off_percent": self.parameters_off,
            "published_gflops": published.gflops if published else None,
            "published_counted_at": size_text(published.counted_at) if published else None,
            "module_macs_counted_there": self.compared,
            "module_macs_off_percent": self.macs_off,
            "published_encoder_trainable_m": published.encoder_trainable_m if published else None,
            "encoder_trainable_off_m": self.encoder_trained_off,
            "published_total_trainable_m": published.total_trainable_m if published else None,
            "total_trainable_off_m": self.trained_off,
            "published_single_inference": published.single_inference if published else None,
            "remark": published.remark if published else None,
            "device": load.device if load else None,
            "batch": load.batch if load else None,
            **{name: getattr(timed, name) if timed else None for name in Timing.__dataclass_fields__},
            "failure": timing.reason if isinstance(timing, Failed) else None,
        }


def different_networks(
    rows: Iterable[Row], axes: Sequence[str]
) -> Iterator[tuple[dict[str, str], list[Cell]]]:
    """Labels and cells of the rows that have a network, without rows that differ in other axes."""
    seen: set[str] = set()
    for row in rows:
        cells = next(iter(row.cells.values()), [])
        if not cells or not has_parameters(cells[0]):
            continue
        key = str([[cell.tasks, *(getattr(cell, axis) for axis in axes)] for cell in cells])
        if key not in seen:
            yield {axis: row.labels[axis] for axis in axes}, cells
        seen.add(key)


def count_line(
    labels: dict[str, str], cells: Sequence[Cell], size: Size, table: Sequence[PublishedRow]
) -> Line:
    """The counts of a row, beside the published ones where the table has them."""
    backbones = [labels["backbone"], cells[0].backbone.name]
    counts = _counts(cells, size)
    published = None
    if counts.trainable == counts.parameters or not any(row.tuning for row in table):
        published = find_published(table, labels["method"], backbones)
    if published is None and len(cells) == 1:
        published = find_tuned(table, labels["tuning"], backbones)
    there = published.counted_at if published else None
    compared = _counts(cells, there).module_macs if there and there != size else counts.module_macs
    return Line(labels, len(cells), size, counts, published, compared if published else None)


def measure_cells(cells: Sequence[Cell], load: Load) -> Timing | Failed:
    """One network after the other: times add up, memory is the largest."""
    timings = []
    for cell in cells:
        found = measure_apart(cell, load)
        if isinstance(found, Failed):
            return found
        timings.append(found)
    return Timing(
        latency_ms=sum(t.latency_ms for t in timings),
        images_per_second=1 / sum(1 / t.images_per_second for t in timings),
        step_ms=_where_trained(sum, [t.step_ms for t in timings]),
        inference_mb=max(t.inference_mb for t in timings),
        training_mb=_where_trained(max, [t.training_mb for t in timings]),
        not_merged=next((t.not_merged for t in timings if t.not_merged), None),
    )


def _counts(cells: Sequence[Cell], size: Size) -> Counts:
    return reduce(add, (count_cell(cell, size) for cell in cells))


def _where_trained(join: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return join(known) if known else None

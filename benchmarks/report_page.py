"""How large report.html of many cells is, and how long a browser takes to open it: python report_page.py."""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mtlbench.cell_pages import LOG_CHARACTERS, POINTS, CellPage, CellPages
from mtlbench.folder import Costs, Result, TaskRecord
from mtlbench.results import Results
from mtlbench.spec import Cell, Choice, Recipe

METRICS = 10
"""Scores of each cell."""
SEEDS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ManyPages(CellPages):
    """Pages of cells that nobody ran: a full log, curves of `POINTS` lines, and noise for numbers."""

    results: Results | None = None

    def __iter__(self) -> Iterator[CellPage]:
        assert self.results is not None
        rng = np.random.default_rng(0)
        for row, ids in self.results.rows["cells"].items():
            for seed, id in enumerate(ids):
                yield _page(rng, id, int(row), seed, [task.name for task in self.results.tasks])


def with_pages(results: Results, seeds: int = SEEDS) -> Results:
    """The same results, whose rows have so many cells each, with a page for each."""
    cells = [tuple(f"cell-{row}-s{seed}" for seed in range(seeds)) for row in results.rows.index]
    named = replace(results, rows=results.rows.assign(cells=cells))
    return replace(named, pages=ManyPages(results=named))


def _page(rng: np.random.Generator, id: str, row: int, seed: int, tasks: list[str]) -> CellPage:
    history = tuple(
        {
            "step": 10 * i,
            "lr": 0.01 * (1 - i / POINTS) ** 0.9,
            **{
                kind: {task: float(rng.lognormal()) for task in tasks}
                for kind in ("losses", "weights", "norms")
            },
        }
        for i in range(POINTS)
    )
    line = "12:00:00 INFO step {} of 600, loss {:.5f}, a line as logs have them\n"
    text = "".join(line.format(i, rng.lognormal()) for i in range(LOG_CHARACTERS // len(line)))
    cell = _cell(tasks, row, seed)
    done = row % 50 > 0
    return CellPage(
        id,
        row,
        seed,
        "done" if done else "new",
        cell=cell,
        result=_result(rng, cell) if done else None,
        log=text,
        history=history,
    )


def _cell(tasks: list[str], row: int, seed: int) -> Cell:
    parts: dict[str, Any] = {name: Choice(name=name) for name in ("dataset", "backbone", "balancer")}
    method = Choice(name="method", options={"depth": row})
    return Cell(tasks=tuple(tasks), method=method, recipe=Recipe(iterations=600), seed=seed, **parts)


def _result(rng: np.random.Generator, cell: Cell) -> Result:
    record = TaskRecord(metric="metric.0", heading="m", higher_is_better=True, scale=1)
    share = -(-METRICS // len(cell.tasks))
    scores = {t: {f"metric.{i}": float(rng.normal()) for i in range(share)} for t in cell.tasks}
    counts = dict.fromkeys(("parameters", "trainable", "macs"), 10**7)
    names = ("train_seconds", "images_per_second", "evaluate_seconds", "peak_memory_mb")
    costs = Costs(**counts, **{name: float(rng.lognormal()) for name in names}, input_size=(480, 640))
    return Result(
        cell=cell,
        tasks=dict.fromkeys(cell.tasks, record),
        scores=scores,
        images={"train": 795, "val": 654},
        costs=costs,
        fingerprints={"method": f"{rng.integers(2**60):x}", "core": "771095155c3bac88"},
        provenance={
            "python": "3.11.7",
            "finished": "2026-01-01T00:00:00+00:00",
            "packages": {"torch": "2.6"},
        },
    )


def seconds_to_open(page: Path, times: int) -> list[tuple[float, float]]:
    """From the start of loading until the first table is painted, in a browser that is already there.

    Wall time, and what of the processor the page's main thread took of it, which other work on the machine
    changes less.
    """
    from playwright.sync_api import sync_playwright

    measured = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium") or which("google-chrome"))
        for _ in range(times):
            tab = browser.new_page()
            session = tab.context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            start = time.perf_counter()
            tab.goto(page.resolve().as_uri(), wait_until="load")
            tab.evaluate(
                "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            assert tab.locator("#results-table tbody tr").first.is_visible()
            wall = time.perf_counter() - start
            metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
            measured.append((wall, metrics["TaskDuration"]))
            tab.close()
        browser.close()
    return measured


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--figures", action="store_true", help="with the static figures, which take minutes")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from mtlbench.reports import html as report

    if not given.figures:
        report.charts = lambda results: ()
    from results_factory import make_results

    results = with_pages(make_results(candidates=given.cells // SEEDS - 1, seeds=SEEDS))
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        (page,) = report.html(results, Path(folder))
        log.info(
            "%d cells, %.1f MB, made in %.0f s",
            given.cells,
            page.stat().st_size / 1e6,
            time.perf_counter() - start,
        )
        seconds = seconds_to_open(page, given.times)
    wall, processor = (statistics.median(column) for column in zip(*seconds, strict=True))
    log.info("opened in %.2f s, %.2f s of a core (medians of %d)", wall, processor, given.times)


if __name__ == "__main__":
    main()

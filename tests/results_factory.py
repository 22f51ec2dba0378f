"""Synthetic `Results` in many shapes, the ugly ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mtlbench.results import COSTS, Picture, Results, TaskColumn

TASKS = (
    TaskColumn("semseg", "mIoU", "miou.dataset.absent0", True, 100.0),
    TaskColumn("depth", "rmse", "depth.rmse.pixels", False, 1.0),
    TaskColumn("normals", "mErr", "normals.mean.pixels.atan2", False, 1.0),
    TaskColumn("edge", "loss", "edge.loss", False, 1.0),
)
SECOND_METRIC = {
    "semseg": "miou.image",
    "depth": "depth.rmse.images",
    "normals": "normals.median",
    "edge": "edge.f",
}
_BASE = {"semseg": 0.41, "depth": 0.61, "normals": 21.3, "edge": 0.048}
_METHODS = ("DeGMix", "Multi-task", "MTI-Net", "PAD-Net", "InvPT", "ATRC", "DeMT")
_BALANCERS = ("equal", "uncertainty", "pcgrad")
FRAMES = ("scores", "delta_m", "costs", "losses", "cosines", "gradients", "balancing", "balancers")
"""Those with a column `row` and a column `seed`."""
UGLY = "a_b & 100% <script>alert(1)</script> [bold]$x^2$ #{~} \\end"


def make_results(
    folder: Path | None = None,
    *,
    candidates: int = 4,
    seeds: int = 3,
    tasks: int = 4,
    baseline: bool = True,
    reference: bool = True,
    cosines: bool = True,
    labels: tuple[str, ...] = (),
    failures: bool = False,
) -> Results:
    """A grid's results; `folder` (for pictures) may be left out; `labels` replace the candidates' methods."""
    rng = np.random.default_rng(0)
    columns = TASKS[:tasks]
    rows = _rows(candidates, baseline, reference, labels, tuple(task.name for task in columns))
    scores = _scores(rng, rows, range(seeds), columns)
    frames = _balancers(rows, range(seeds), columns, keep=cosines)
    return Results(
        grid="quickstart",
        rows=rows,
        scores=scores,
        delta_m=_delta_m(scores, rows, columns),
        costs=_costs(rng, rows, range(seeds)),
        losses=_losses(rng, rows, range(seeds), columns),
        cosines=_cosines(rng, rows, range(seeds), columns, keep=cosines),
        **frames,
        tasks=columns,
        pictures=_pictures(folder, rows, columns) if folder else (),
        captions={
            "seeds": ", ".join(map(str, range(seeds))),
            "recipe": "400 iterations of batch size 8, adamw, lr 0.0005",
            "selection": "last",
            "metrics": "64 validation images",
            "baseline": "single-task networks of the same backbone, recipe and seed",
            "input_size": "128 x 160 pixels",
            "dataset": "rooms (validation)",
        },
        failures=_failures() if failures else pd.DataFrame(columns=["cell", "kind", "message"]),
    )


def _rows(
    candidates: int, baseline: bool, reference: bool, labels: tuple[str, ...], tasks: tuple[str, ...]
) -> pd.DataFrame:
    names = labels or [_METHODS[i // len(_BALANCERS) % len(_METHODS)] for i in range(candidates)]
    lines = [("candidate", name, _BALANCERS[i % len(_BALANCERS)]) for i, name in enumerate(names)]
    lines += [("baseline", "Single task", "")] if baseline else []
    lines += [("reference", "constant", "")] if reference else []
    frame = pd.DataFrame(lines, columns=["role", "method", "balancer"])
    shared = {"dataset": "rooms", "backbone": "efficientnet-lite0", "tuning": "full", "recipe": "quick"}
    frame = frame.assign(**shared, protocol="joint", state="done", base=-1)
    frame["networks"] = [len(tasks) if role == "baseline" else 1 for role in frame["role"]]
    for name in ("evaluated", "trained"):
        frame[name] = [tasks] * len(frame)
    frame["stages"] = [(tasks,)] * len(frame)
    frame["cells"] = [(f"cell-{i}",) for i in range(len(frame))]
    return frame.rename_axis("row")


def _scores(
    rng: np.random.Generator, rows: pd.DataFrame, seeds: range, tasks: tuple[TaskColumn, ...]
) -> pd.DataFrame:
    lines = []
    for row, role in rows["role"].items():
        for task in tasks:
            sign = 1 if task.higher_is_better else -1
            gain = {"reference": -0.6, "baseline": 0.0, "candidate": rng.normal(0.02, 0.04)}[role]
            for seed in seeds:
                noise = 0.0 if role == "reference" else rng.normal(0, 0.01)
                value = _BASE[task.name] * (1 + sign * (gain + noise))
                lines.append((row, seed, task.name, task.metric, value, True))
                lines.append((row, seed, task.name, SECOND_METRIC[task.name], value * 1.1, False))
    return pd.DataFrame(lines, columns=["row", "seed", "task", "metric", "value", "primary"])


def _delta_m(scores: pd.DataFrame, rows: pd.DataFrame, tasks: tuple[TaskColumn, ...]) -> pd.DataFrame:
    columns = ["row", "seed", "delta_m"]
    found = rows.index[rows["role"] == "baseline"]
    if found.empty:
        return pd.DataFrame(columns=columns)
    wide = scores[scores["primary"]].pivot(index=["row", "seed"], columns="task", values="value")
    base = wide.loc[found[0]]
    signs = pd.Series({task.name: 1 if task.higher_is_better else -1 for task in tasks})
    lines = [
        (row, seed, 100 * ((wide.loc[row, seed] - base.loc[seed]) / base.loc[seed] * signs).mean())
        for row, seed in wide.index
    ]
    return pd.DataFrame(lines, columns=columns)


def _costs(rng: np.random.Generator, rows: pd.DataFrame, seeds: range) -> pd.DataFrame:
    lines = []
    for row, role in rows["role"].items():
        size = {"reference": 0.0, "baseline": 4.0, "candidate": 1 + (row // 3) * 0.35}[role]
        for seed in seeds:
            seconds = size * 300 * rng.uniform(0.9, 1.1)
            lines.append((row, seed, int(size * 5.3e6), size * 2.2e9, size * 2.5e9, seconds, 90.0, 800.0))
    return pd.DataFrame(lines, columns=["row", "seed", *COSTS])


def _losses(
    rng: np.random.Generator, rows: pd.DataFrame, seeds: range, tasks: tuple[TaskColumn, ...]
) -> pd.DataFrame:
    steps = np.arange(10, 401, 10)
    frames = []
    for row, role in rows["role"].items():
        for seed in seeds if role != "reference" else ():
            for i, task in enumerate(tasks):
                loss = (
                    (1 + i) * (0.2 + np.exp(-steps / (100 + 10 * row))) * rng.lognormal(0, 0.15, len(steps))
                )
                weight = 1 + 0.3 * (row % 3) * np.tanh(steps / 150) * (-1) ** i
                blank = role == "baseline" or row % 3 == 2
                frames.append(
                    pd.DataFrame(
                        {
                            "row": row,
                            "seed": seed,
                            "task": task.name,
                            "step": steps,
                            "loss": loss,
                            "weight": np.nan if blank else weight,
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def _cosines(
    rng: np.random.Generator,
    rows: pd.DataFrame,
    seeds: range,
    tasks: tuple[TaskColumn, ...],
    *,
    keep: bool,
) -> pd.DataFrame:
    names = [task.name for task in tasks]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    lines = [
        (row, seed, step, a, b, float(np.clip(0.3 - 0.15 * i - step / 2000 + rng.normal(0, 0.1), -1, 1)))
        for row, role in rows["role"].items()
        if keep and role == "candidate"
        for seed in seeds
        for step in range(10, 401, 10)
        for i, (a, b) in enumerate(pairs)
    ]
    return pd.DataFrame(lines, columns=["row", "seed", "step", "task_a", "task_b", "cosine"])


def _balancers(
    rows: pd.DataFrame, seeds: range, tasks: tuple[TaskColumn, ...], *, keep: bool
) -> dict[str, pd.DataFrame]:
    """Every third candidate works on gradients; the second of those failed in three steps of each seed."""
    rng = np.random.default_rng(2)
    norms, lines, costs = [], [], []
    for row, role in rows["role"].items():
        if role == "reference":
            continue
        works = keep and role == "candidate" and row % 3 == 2
        share, failed = (0.35, 3 * (row == 5)) if works else (0.002, 0)
        for seed in seeds:
            at = ("parameters", "representation", "last_layer")[row // 3 % 3] if works else ""
            memory = 180.0 + row if works else 0.0
            costs.append((row, seed, at, 1, 300 * share, share, memory, failed, 400))
            for step in range(10, 401, 10):
                if works and len(tasks) > 1:
                    norms += [
                        (row, seed, step, task.name, 10.0 ** (i - 2) * rng.lognormal(0, 0.3))
                        for i, task in enumerate(tasks)
                    ]
                known = (rng.uniform(0, 0.8), 1 + rng.lognormal(row, 1)) if works else (np.nan, np.nan)
                lines.append((row, seed, step, *known, 300 * share, share, failed * (step > 100)))
    names = ["row", "seed", "step"]
    what = ["conflicts", "condition", "milliseconds", "share", "failures"]
    whole = ["at", "every", "milliseconds", "share", "gradient_memory_mb", "failures", "steps"]
    return {
        "gradients": pd.DataFrame(norms, columns=[*names, "task", "norm"]),
        "balancing": pd.DataFrame(lines, columns=[*names, *what]),
        "balancers": pd.DataFrame(costs, columns=["row", "seed", *whole]),
    }


def _pictures(folder: Path, rows: pd.DataFrame, tasks: tuple[TaskColumn, ...]) -> tuple[Picture, ...]:
    """Shapes on gradients, 40 x 32 pixels; predictions are noisier than labels."""
    rng = np.random.default_rng(1)
    pictures = []
    for sample in ("0007", "0012"):
        kinds: list[tuple[int, str | None, str]] = [
            (-1, None, "image"),
            *((-1, t.name, "label") for t in tasks),
        ]
        kinds += [
            (row, t.name, "prediction")
            for row, role in rows["role"].items()
            if role != "reference"
            for t in tasks
        ]
        for row, task, kind in kinds:
            y, x = np.mgrid[:32, :40]
            base = np.stack([x * 6, y * 7, (x + y) * 3], axis=-1)
            base[8:20, 10:24] = 255 - base[8:20, 10:24]
            noisy = base + rng.normal(0, 40 if kind == "prediction" else 1, base.shape)
            path = folder / f"{sample}-{row}-{task}.png"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
            pictures.append(Picture(row, sample, task, kind, path))
    return tuple(pictures)


def _failures() -> pd.DataFrame:
    return pd.DataFrame(
        [("rooms-effnet-multi_task-pcgrad-s2-0f3a", "diverged", f"loss of depth is NaN at step 112 {UGLY}")],
        columns=["cell", "kind", "message"],
    )


@dataclass(frozen=True)
class Trained:
    """A row by what it was trained on, with the primary scores of its tasks, a value for each seed."""

    protocol: str
    stages: tuple[tuple[str, ...], ...]
    scores: Mapping[str, Sequence[float]]
    role: str = "candidate"
    method: str = "DeGMix"
    balancer: str = "equal"
    backbone: str = "Swin-T"
    dataset: str = "rooms"
    networks: int = 1
    base: int = -1
    state: str = "done"
    cells: tuple[str, ...] = field(default=())


def results_of(trained: Sequence[Trained], tasks: Sequence[TaskColumn] = TASKS) -> Results:
    """Results that hold these rows and their scores, and nothing else."""
    known = [task.name for task in tasks]
    rows = pd.DataFrame(
        [
            {
                **{
                    name: getattr(row, name) for name in ("role", "dataset", "backbone", "method", "balancer")
                },
                "tuning": "full",
                "recipe": "quick",
                "protocol": row.protocol,
                "state": row.state,
                "evaluated": tuple(row.scores),
                "trained": tuple(task for task in known if any(task in stage for stage in row.stages)),
                "stages": row.stages,
                "networks": row.networks,
                "base": row.base,
                "cells": row.cells or (f"cell-{i}",),
            }
            for i, row in enumerate(trained)
        ]
    ).rename_axis("row")
    metrics = {task.name: task.metric for task in tasks}
    lines = [
        (i, seed, task, metrics[task], value, True)
        for i, row in enumerate(trained)
        for task, values in row.scores.items()
        for seed, value in enumerate(values)
    ]
    scores = pd.DataFrame(lines, columns=["row", "seed", "task", "metric", "value", "primary"])
    seeds = ", ".join(map(str, sorted(set(scores["seed"]))))
    empty = unfinished(make_results(candidates=1, seeds=1))
    return replace(empty, rows=rows, scores=scores, tasks=tuple(tasks), captions={"seeds": seeds})


def make_protocols(tasks: Sequence[TaskColumn] = TASKS, *, seeds: int = 2) -> Results:
    """Single-task networks, all sets of tasks (1), tasks added one by one (2), one loss left out (3).

    Each task gains from those before it and loses a little to those after it, noise aside.
    """
    rng = np.random.default_rng(3)
    names = tuple(task.name for task in tasks)

    def scores(learned: Sequence[str], *, evaluated: Sequence[str] = ()) -> dict[str, list[float]]:
        found = {}
        for i, task in enumerate(tasks):
            if task.name not in (evaluated or learned):
                continue
            others = [names.index(other) for other in learned if other != task.name]
            gain = sum(0.03 if j < i else -0.012 for j in others) if task.name in learned else -0.9
            sign = 1 if task.higher_is_better else -1
            base = _BASE.get(task.name, 0.5)
            found[task.name] = [base * (1 + sign * (gain + noise)) for noise in rng.normal(0, 0.01, seeds)]
        return found

    single = {name: scores((name,))[name] for name in names}
    rows = [
        Trained("", (names,), single, role="baseline", method="single task", balancer="", networks=len(names))
    ]
    sets = [chosen for size in range(2, len(names) + 1) for chosen in combinations(names, size)]
    rows += [Trained(f"1.{i}", (chosen,), scores(chosen)) for i, chosen in enumerate(sets, start=1)]
    base = 1
    for i in range(3, len(names) + 1):
        stages = tuple(names[:size] for size in range(2, i + 1))
        rows.append(Trained(f"2.{i - 2}", stages, scores(names[:i]), base=base))
        base = len(rows) - 1
    for i, left in enumerate(reversed(names) if len(names) > 2 else (), start=1):
        rest = tuple(name for name in names if name != left)
        rows.append(Trained(f"3.{i}", (rest,), scores(rest, evaluated=names)))
    return results_of(rows, tasks)


def without_seeds(results: Results, row: int, seeds: tuple[int, ...], state: str) -> Results:
    """The same results where some seeds of a row never finished."""
    rows = results.rows.copy()
    rows.loc[row, "state"] = state
    kept = {
        name: frame[~((frame["row"] == row) & frame["seed"].isin(seeds))]
        for name in FRAMES
        if not (frame := getattr(results, name)).empty
    }
    return replace(results, rows=rows, **kept)


def unfinished(results: Results) -> Results:
    """The same grid before any cell is done: rows only, and frames whose columns have no types."""
    empty = {name: pd.DataFrame(columns=getattr(results, name).columns) for name in FRAMES}
    rows = results.rows.assign(state="0 of 3 cells done")
    return replace(results, rows=rows, tasks=(), pictures=(), captions={}, **empty)

"""`mtlbench export`: the results of a folder of runs in one file for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.files import replacing, write_atomically
from mtlbench.loaded import cells_of, load, results
from mtlbench.store import Runs

if TYPE_CHECKING:
    import pandas as pd


def export(
    root: Path,
    out: Path,
    console: Console,
    *,
    url: str | None = None,
    grid: str | None = None,
    held_out: bool = False,
    curves: bool = False,
) -> None:
    """Write the scores (`mtlbench.load`), or with `curves` what was noted in training, to `out`.

    Raises:
        MtlbenchError: the suffix is none of .csv, .parquet and .json, a package is missing, or there are no
            such runs.
    """
    write = _writer(out)
    frame = (
        _curves(Runs(root, url), grid, held_out) if curves else load(root, url, grid=grid, held_out=held_out)
    )
    if frame.empty:
        raise MtlbenchError(f"nothing to export: no cell of {root if grid is None else grid} is done")
    out.parent.mkdir(parents=True, exist_ok=True)
    write(frame, out)
    console.print(f"{len(frame)} lines in {escape(str(out))}", soft_wrap=True)


def _writer(out: Path) -> Callable[[pd.DataFrame, Path], None]:
    """Found before anything is read."""
    writers = {".csv": _csv, ".parquet": _parquet, ".json": _json}
    if out.suffix not in writers:
        raise MtlbenchError(f"the file to write must end in {', '.join(writers)}, got {out}")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise MissingExtra("pyarrow", "parquet", "a Parquet file")
    return writers[out.suffix]


def _csv(frame: pd.DataFrame, out: Path) -> None:
    write_atomically(out, frame.to_csv(index=False))


def _json(frame: pd.DataFrame, out: Path) -> None:
    """`{"columns": [...], "rows": [[...], ...]}`; a missing value is null."""
    values = frame.astype(object)
    rows = values.where(values.notna(), None).to_numpy().tolist()  # pandas' own writer rounds to 15 digits
    write_atomically(out, json.dumps({"columns": list(frame.columns), "rows": rows}, allow_nan=False))


def _parquet(frame: pd.DataFrame, out: Path) -> None:
    with replacing(out) as file:
        frame.to_parquet(file, index=False)


def _curves(runs: Runs, grid: str | None, held_out: bool) -> pd.DataFrame:
    """Columns cell, seed, step, task, quantity (loss, weight or norm), value."""
    import pandas as pd  # slow to import

    from mtlbench.histories import read_history

    wanted = None if grid is None else cells_of(runs, grid)
    lines = [
        (id, result.cell.seed, line["step"], task, quantity, value)
        for id, result in results(runs, wanted)
        if held_out or not result.cell.holdout
        for line in read_history(runs.folder(id).history)
        for quantity, key in (("loss", "losses"), ("weight", "weights"), ("norm", "norms"))
        for task, value in line.get(key, {}).items()
    ]
    return pd.DataFrame(lines, columns=["cell", "seed", "step", "task", "quantity", "value"])

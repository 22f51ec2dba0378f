"""`mtlbench report`: what the store holds of a grid, as tables, figures and pages.

Nothing here or in the reports needs torch, whose import takes longer than the report of a small grid.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from mtlbench.collect import collect
from mtlbench.errors import MtlbenchError
from mtlbench.files import write_atomically
from mtlbench.layouts.main import with_look
from mtlbench.registry import Plugin, registry
from mtlbench.results import Results
from mtlbench.store import Runs
from mtlbench.terminal import print_table

log = logging.getLogger(__name__)


def report(
    runs: Runs, console: Console, *, grid: str | None, look: Mapping[str, object] | None = None
) -> None:
    """Write the reports of one grid, or of all; `look`: keys of `report` that replace the grid's own.

    Raises:
        MtlbenchError: there is none.
    """
    names = [grid] if grid else sorted(runs.grids())
    for name in names:
        write_reports(name, runs, console, look=look)
    if not names:
        raise MtlbenchError(f"no grid has been run in {runs.root}")


def write_reports(
    grid: str, runs: Runs, console: Console, *, again: bool = True, look: Mapping[str, object] | None = None
) -> None:
    """Every registered report of one grid; prints the table and where the files are.

    Unless `again`, reports stay as they are where nothing has changed since they were written.
    """
    results = with_look(collect(runs, grid), look)
    folder = runs.reports(grid)
    folder.mkdir(parents=True, exist_ok=True)
    record, state = folder / ".written.json", _report_state(results)
    written = _files_written(record, state)
    if again or written is None:
        written = [path for plugin in registry.plugins("report") for path in _write(plugin, results, folder)]
        names = [str(path.relative_to(folder)) for path in written]
        write_atomically(record, json.dumps({"state": state, "files": names}))
    print_table(results, console)
    console.print(f"Report of {escape(grid)}:")
    for path in written:
        if path.suffix in (".html", ".md", ".tex", ".csv"):
            console.print(f"  {escape(str(path))}", soft_wrap=True)
    for place in sorted({path.parent for path in written if path.suffix == ".png"}):
        count = len({path for path in written if path.parent == place and path.suffix == ".png"})
        console.print(f"  {escape(str(place))}/ ({count} figures)", soft_wrap=True)


def _report_state(results: Results) -> str:
    """A checksum of all numbers that reports show."""
    digest = hashlib.sha256(f"{results.captions} {results.report!r} {results.published}".encode())
    for name, value in vars(results).items():
        if isinstance(value, pd.DataFrame):
            digest.update(f"{name} {[*value.columns]}".encode())
            digest.update(pd.util.hash_pandas_object(value).to_numpy().tobytes())
    return digest.hexdigest()


def _files_written(record: Path, state: str) -> list[Path] | None:
    """The files of the last report, if it showed the same numbers and all are still there."""
    if not record.exists():
        return None
    content = json.loads(record.read_text(encoding="utf-8"))
    files = [record.parent / name for name in content["files"]]
    return files if content["state"] == state and all(file.exists() for file in files) else None


def _write(plugin: Plugin, results: Results, folder: Path) -> list[Path]:
    """One report's files; a plugin that breaks must not cost the others."""
    try:
        return plugin.load()(results, folder)
    except Exception:
        log.exception("report `%s` (from %s) failed", plugin.name, plugin.origin)
        return []

"""The report as one HTML file that needs nothing else: pictures, data and scripts inside, no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from mtlbench import balancer_table
from mtlbench.caption import caption
from mtlbench.layouts.main import main_table
from mtlbench.results import Results
from mtlbench.statistics.findings import findings
from mtlbench.table import Column, Table, tabulate

from . import html_cells, html_interactive
from .figures import charts
from .figures.chart import DPI, Chart
from .gain import EXPLANATION, HEADING, gain
from .html_commands import row_command
from .html_gallery import gallery
from .html_packing import data_uri, script_json
from .html_studies import show
from .protocol_tables import HEADING as PROTOCOLS
from .protocol_tables import blocks

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("report.css", "parts.css")
_SCRIPTS = ("common.js", "tables.js", "lines.js", "cells.js", "gallery.js", "figures.js", "report.js")
"""In this order: each uses what stands before it."""

_PROVENANCE = {
    "dataset": "Data set",
    "seeds": "Seeds",
    "recipe": "Recipe",
    "selection": "Checkpoint that is scored",
    "metrics": "Metrics",
    "baseline": "Baseline of Δm",
    "input_size": "Input of the MACs",
}


@dataclass(frozen=True)
class Shown:
    """A figure in the page.

    Attributes:
        source: its picture as a data URI; empty where there is only an interactive one.
        inches: its width on paper.
        interactive: whether the page's script draws it anew.
    """

    name: str
    title: str
    caption: str
    source: str
    inches: float
    interactive: bool


@dataclass(frozen=True)
class Origin:
    """How a row is made anew: a command, and links to its cells, by seed."""

    name: str
    command: str
    cells: list[str]


def html(results: Results, folder: Path) -> list[Path]:
    """Write `report.html`."""
    table = main_table(results)
    names = tabulate(results).names()
    library = html_interactive.library()
    data = html_interactive.data(results) if library else {}
    cells = html_cells.cells(results, names)
    pictures = gallery(results)
    studies = [show(study) for study in results.studies]
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=results.grid,
            style=_joined(_STYLES),
            script=_joined(_SCRIPTS),
            findings=findings(results),
            table=table,
            caption=caption(results),
            gain=gain(results),
            gain_heading=HEADING,
            gain_explanation=EXPLANATION,
            warnings=balancer_table.warnings(results),
            balancers=balancer_table.balancers(results),
            balancers_heading=balancer_table.HEADING,
            balancers_explanation=balancer_table.EXPLANATION,
            protocols=blocks(results),
            protocols_heading=PROTOCOLS,
            figures=_figures(results, data),
            plotly=library,
            figures_data=script_json(data) if data else None,
            gallery=script_json(pictures) if pictures else None,
            gallery_left_out=pictures.get("leftOut", 0),
            studies=studies,
            studies_data=script_json(_histories(studies)),
            cells=cells,
            cells_data=script_json({"index": cells.index, "block": html_cells.BLOCK}),
            origins=_origins(results, table),
            failures=results.failures[["cell", "kind", "message"]].astype(str).to_dict("records"),
            provenance=_provenance(results),
        )
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return [path]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["groupby_consecutive"] = _groups
    return environment


def _joined(names: Sequence[str]) -> Markup:
    """Our own files as they are: they are not templates."""
    return Markup("\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def _groups(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Neighbouring columns of one task."""
    return [(group, list(members)) for group, members in groupby(columns, key=lambda column: column.group)]


def _figures(results: Results, data: dict[str, Any]) -> list[Shown]:
    """All but the gallery, which the page lays out itself; then what only the page can draw."""
    pictured = [chart for chart in charts(results) if not chart.name.startswith("gallery")]
    names = [chart.name for chart in pictured]
    asked = html_interactive.drawable(data, names) if data else []
    shown = [_shown(chart, chart.name in asked) for chart in pictured]
    text = html_interactive.CAPTIONS["validation"]
    only = [
        Shown(n, "Validation", text, "", 7.0, True) for n in asked if n not in names and n == "validation"
    ]
    return shown + only


def _shown(chart: Chart, interactive: bool) -> Shown:
    with Image.open(BytesIO(chart.png)) as image:
        inches = round(image.width / DPI, 2)
    text = html_interactive.CAPTIONS.get(chart.name, chart.caption) if interactive else chart.caption
    return Shown(chart.name, chart.title, text, data_uri(chart.png), inches, interactive)


def _origins(results: Results, table: Table) -> list[Origin]:
    """In the order of the table, rows whose cells are known."""
    specs, plugins = results.pages.specs(), results.pages.plugins()
    cells = results.rows["cells"]
    return [
        Origin(
            table.name(line),
            row_command(f"{results.grid}-row{line.row}", specs[line.row], plugins),
            list(cells[line.row]),
        )
        for line in table.lines
        if line.row in specs
    ]


def _histories(studies: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"place": f"study-{i}", "history": study.history} for i, study in enumerate(studies, start=1)]


def _provenance(results: Results) -> list[tuple[str, str]]:
    """The captions under readable names; ones that this page doesn't know keep theirs."""
    return [(_PROVENANCE.get(key, key), text) for key, text in results.captions.items() if text]

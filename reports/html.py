"""The report as one HTML file that needs nothing else: pictures inside, no requests, no libraries."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from mtlbench import balancer_table
from mtlbench.caption import caption
from mtlbench.results import Results
from mtlbench.table import Column, tabulate

from .figures import charts
from .figures.chart import DPI, Chart
from .figures.gallery import SAMPLES, Sample, prepare
from .gain import EXPLANATION, HEADING, gain

_LARGEST = 480  # pixels of a gallery picture's longer side

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
    """A figure in the page: its picture as a data URI, and its width on paper."""

    name: str
    title: str
    caption: str
    source: str
    inches: float


def html(results: Results, folder: Path) -> list[Path]:
    """Write `report.html`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["groupby_consecutive"] = _groups
    page = environment.get_template("report.html.j2").render(
        title=results.grid,
        table=tabulate(results),
        caption=caption(results),
        gain=gain(results),
        gain_heading=HEADING,
        gain_explanation=EXPLANATION,
        warnings=balancer_table.warnings(results),
        balancers=balancer_table.balancers(results),
        balancers_heading=balancer_table.HEADING,
        balancers_explanation=balancer_table.EXPLANATION,
        figures=_figures(results),
        gallery=[_inlined(sample) for sample in prepare(results)[:SAMPLES]],
        failures=results.failures[["cell", "kind", "message"]].astype(str).to_dict("records"),
        provenance=_provenance(results),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return [path]


def _groups(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Neighbouring columns of one task."""
    return [(group, list(members)) for group, members in groupby(columns, key=lambda column: column.group)]


def _figures(results: Results) -> list[Shown]:
    """All but the gallery, which the page lays out itself."""
    return [_shown(chart) for chart in charts(results) if not chart.name.startswith("gallery")]


def _shown(chart: Chart) -> Shown:
    with Image.open(BytesIO(chart.png)) as image:
        inches = round(image.width / DPI, 2)
    return Shown(chart.name, chart.title, chart.caption, _data_uri(chart.png), inches)


def _inlined(sample: Sample) -> dict[str, object]:
    """A sample with data URIs in place of files."""
    return {
        "sample": sample.sample,
        "tasks": sample.tasks,
        "image": sample.image and _picture(sample.image),
        "lines": [
            (name, {task: _picture(path) for task, path in files.items()}) for name, files in sample.lines
        ],
    }


def _picture(path: Path) -> str:
    """A picture as it is, or smaller where it is large: a page of many stays light."""
    with Image.open(path) as image:
        if image.format == "PNG" and max(image.size) <= _LARGEST:
            return _data_uri(path.read_bytes())
        smaller = image.convert("RGB")
    smaller.thumbnail((_LARGEST, _LARGEST))
    buffer = BytesIO()
    smaller.save(buffer, "PNG")
    return _data_uri(buffer.getvalue())


def _data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"


def _provenance(results: Results) -> list[tuple[str, str]]:
    """The captions under readable names; ones that this page doesn't know keep theirs."""
    return [(_PROVENANCE.get(key, key), text) for key, text in results.captions.items() if text]

"""The HTML page, parsed back: self-contained, escaped, with the table's numbers."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mtlbench.reports.figures import charts
from mtlbench.reports.gain import gain
from mtlbench.reports.html import html
from PIL import Image
from results_factory import UGLY, make_results, without_seeds

from mtlbench.caption import caption
from mtlbench.layouts.main import main_table
from mtlbench.registry import registry
from mtlbench.results import Results

VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """Tables as texts and classes of their body's cells, all attributes, and all text outside scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str, str]]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in given.items()]
        if tag not in VOID:
            self.stack.append((tag, given))
        tables = [a["id"] for t, a in self.stack if t == "table" and "id" in a]
        if tables and tag == "tr" and any(t == "tbody" for t, _ in self.stack):
            self.tables.setdefault(tables[-1], []).append([])
        if tables and tag == "td":
            self.tables[tables[-1]][-1].append(("", given["class"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        inside = [t for t, _ in self.stack]
        if "script" in inside or "style" in inside:
            return
        self.text += data
        tables = [a["id"] for t, a in self.stack if t == "table" and "id" in a]
        if tables and "td" in inside:
            text, kind = self.tables[tables[-1]][-1][-1]
            self.tables[tables[-1]][-1][-1] = (text + data, kind)


def decoded(sources: Iterable[str]) -> list[Image.Image]:
    """Pictures of data URIs."""
    found = []
    for source in sources:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        image.load()
        found.append(image)
    return found


def gallery_pictures(source: str) -> list[Image.Image]:
    """All of the gallery's, decoded."""
    (text,) = re.findall(r'<script type="application/json" id="gallery-data">(.*?)</script>', source)
    sources = []
    for sample in json.loads(text)["samples"]:
        sources += [sample["image"], *sample["truth"].values()]
        sources += [found for row in sample["rows"] for found in row["predictions"].values()]
    return decoded(sources)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(
        tmp_path_factory.mktemp("pictures"), labels=("DeGMix", UGLY, "a < b"), seeds=2, failures=True
    )
    return without_seeds(made, 2, (0,), "1 of 2 seeds <failed>")


@pytest.fixture(scope="module")
def source(results: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    (path,) = html(results, tmp_path_factory.mktemp("report"))
    assert path.name == "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    parsed = Page(source)
    assert parsed.stack == []
    return parsed


def test_tables_hold_the_numbers_and_marks(page: Page, results: Results) -> None:
    for name, table in (("results-table", main_table(results)), ("gain-table", gain(results))):
        assert table is not None
        assert len(page.tables[name]) == len(table.lines)
        for cells, line in zip(page.tables[name], table.lines, strict=True):
            for (text, kind), entry in zip(cells, line.entries, strict=True):
                assert " ".join(text.split()) == " ".join(entry.text.split())
                assert [c for c in kind.split() if c in ("best", "second")] == (
                    [entry.rank] if entry.rank else []
                )


def test_nothing_is_fetched(source: str, page: Page) -> None:
    addresses = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert "@import" not in source
    assert "url(" not in source
    targets = {value for _, name, value in page.attributes if name == "id"}
    assert {value[1:] for value in addresses if value.startswith("#")} <= targets


def test_labels_are_escaped(source: str, page: Page) -> None:
    assert UGLY in page.text
    assert "alert(1)" in page.text
    assert source.count("<script>") == 1  # the others hold data
    assert "<script>alert" not in source
    assert "1 of 2 seeds <failed>" in page.text


def test_pictures_are_whole(source: str, page: Page, results: Results) -> None:
    figures = [v for tag, name, v in page.attributes if (tag, name) == ("img", "src")]
    assert len(decoded(figures)) == len([c for c in charts(results) if not c.name.startswith("gallery")])
    assert len(gallery_pictures(source)) == len(results.pictures)


def test_page_says_what_the_caption_says(page: Page, results: Results) -> None:
    text = " ".join(page.text.split())
    assert caption(results) in text
    assert "loss of depth is NaN at step 112" in text
    for value in results.captions.values():
        assert value in text


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    results = make_results(tmp_path, candidates=1, seeds=1, tasks=1)
    noise = Image.effect_noise((1000, 500), 80).convert("RGB")
    for picture in results.pictures:
        noise.save(picture.path)
    (path,) = html(results, tmp_path)
    shown = gallery_pictures(path.read_text(encoding="utf-8"))
    assert [image.size for image in shown] == [(480, 240)] * len(results.pictures)


@pytest.mark.parametrize(
    "options", [{"candidates": 1, "seeds": 1, "tasks": 1}, {"baseline": False, "reference": False}]
)
def test_ugly_shapes(tmp_path: Path, options: dict[str, object]) -> None:
    results = make_results(cosines=False, **options)  # type: ignore[arg-type]
    (path,) = html(results, tmp_path)
    parsed = Page(path.read_text(encoding="utf-8"))
    assert ("gain-table" in parsed.tables) == ("reference" not in options)
    assert len(parsed.tables["results-table"]) == len(results.rows)


def test_every_report_is_found_by_name() -> None:
    assert {"markdown", "latex", "csv", "figures", "html"} <= set(registry.names("report"))
    for name in ("markdown", "latex", "csv", "figures", "html"):
        plugin = registry.get("report", name)
        assert callable(plugin.load())
        assert plugin.summary

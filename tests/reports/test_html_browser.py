"""The HTML page in a real browser: what it shows, and what it does when it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import which

import pandas as pd
import pytest
from mtlbench.reports import html as html_report
from mtlbench.reports import html_interactive
from mtlbench.reports.figures import charts
from pages_factory import DONE, FAILED, MESSAGE, TRACEBACK, make_pages
from report_page import with_pages
from results_factory import UGLY, make_results

from mtlbench.layouts.main import main_table
from mtlbench.results import Results
from mtlbench.studies.records import StudyRecord, TrialRecord

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = which("chromium") or which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome is installed")
PICTURES = ("delta_m", "cost")
"""Figures that the pages of these tests have, to be made in little time."""
Open = Callable[..., "sync_api.Page"]


def make_study() -> StudyRecord:
    trials = [
        TrialRecord(
            number=i, state="complete", parameters={"balancer.c": 0.1 * i}, values=[float(i % 3) - 0.5]
        )
        for i in range(4)
    ]
    failed = TrialRecord(number=4, state="failed", parameters={"balancer.c": 0.9})
    return StudyRecord(
        name="study",
        grid="quickstart",
        labels={"method": UGLY},
        objective=["delta_m"],
        directions=["maximize"],
        space={"balancer.c": {"low": 0, "high": 1}},
        defaults={"balancer.c": 0.0},
        holdout=0.2,
        seeds=[3],
        trials=[*trials, failed],
        best=[2],
        settings=[{"balancer": {"name": "cagrad", "c": 0.2}}],
    )


def write(results: Results, folder: Path, *, plotly: bool) -> Path:
    """The page with few figures; without plotly, which takes most of the time of opening it, or with it."""
    with pytest.MonkeyPatch.context() as patch:
        few = [chart for chart in charts(results) if chart.name in PICTURES]
        patch.setattr(html_report, "charts", lambda results: few)
        if not plotly:
            patch.setattr(html_interactive, "library", lambda: None)
        (path,) = html_report.html(results, folder)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(
        tmp_path_factory.mktemp("pictures"),
        labels=("DeGMix", UGLY, "<i>a</i>"),
        seeds=2,
        tasks=2,
        cosines=False,
    )
    lines = [(row, 0, "semseg", step, 0.1 * step) for row in (0, 1) for step in (1, 2, 3)]
    frame = pd.DataFrame(lines, columns=["row", "seed", "task", "step", "value"])
    pages = make_pages(tmp_path_factory.mktemp("runs"))
    return replace(made, pages=pages, studies=(make_study(),), validation=frame)


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(results, tmp_path_factory.mktemp("report"), plotly=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def visit(browser: sync_api.Browser, report: Path) -> Iterator[Open]:
    """Opens a page; at the end there must have been no message, no error and no request but for the file."""
    seen: list[str] = []
    opened = []

    def open_page(
        hash: str = "", path: Path = report, width: int = 1280, scheme: str = "light"
    ) -> sync_api.Page:
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        page.set_default_timeout(25_000)  # on a machine that others use, too
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(f"dialog {dialog.message}"))
        local = ("data:", "blob:", path.as_uri())
        page.on(
            "request", lambda request: None if request.url.startswith(local) else seen.append(request.url)
        )
        opened.append(page)
        page.goto(path.as_uri() + hash)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert seen == []


def column(page: sync_api.Page, place: int) -> list[str]:
    """Values of a column of the main table, of rows that are shown."""
    rows = page.locator("#results-table tbody tr:visible")
    return rows.evaluate_all(f"rows => rows.map(row => row.cells[{place}].dataset.value)")


def test_figures_answer(visit: Open, results: Results, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    page = visit(path=write(results, tmp_path, plotly=True))
    for name in (*PICTURES, "validation"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.locator(f"#{name} .js-plotly-plot .main-svg").first.wait_for()
        assert page.locator(f"#{name} > img:visible").count() == 0
    assert page.locator("#validation .scatterlayer path.js-line").count() == 2
    page.get_by_label("Horizontal axis").select_option(label="parameters (M)")
    page.get_by_label("Vertical axis").select_option(label="depth rmse")
    assert page.locator("#cost .xtitle").inner_html() == "parameters (M)"
    assert page.locator("#cost .ytitle").inner_html() == "depth rmse ↓"
    assert "Pareto" not in page.inner_text("#cost figcaption"), "whose front is in the picture alone"


def test_everything_is_shown_also_without_plotly(visit: Open, results: Results) -> None:
    page = visit()
    assert len(column(page, 0)) == len(results.rows)
    for place in ("#gallery-place", "#cells-place"):
        page.locator(place).scroll_into_view_if_needed()
    page.locator("#cells-table tbody tr").first.wait_for()
    page.locator(".stage img").first.wait_for()
    assert " ".join(UGLY.split()) in " ".join(page.inner_text("body").split())
    assert page.locator("#delta_m img").is_visible()
    assert "pip install 'mtlbench[html]'" in page.inner_text("#figures")
    assert page.locator("#studies svg circle").count() == 4
    assert page.locator("#studies svg text").all_inner_texts().count("\N{MINUS SIGN}0") == 0
    assert "balancer.c 0 to 1" in page.inner_text("#studies dl")
    assert page.locator("#studies pre").inner_text() == "balancer:\n  name: cagrad\n  c: 0.2"


def test_headings_sort_by_value(visit: Open, results: Results) -> None:
    page = visit()
    table = main_table(results)
    place = table.index("delta_m")
    given = column(page, place)
    button = page.locator("#results-table thead tr:last-child th").nth(place).locator("button")
    button.focus()
    for order, key in (("ascending", 1), ("descending", -1)):
        page.keyboard.press("Enter")
        values = [float(value) for value in column(page, place)]
        assert values == sorted(values, key=lambda value: key * value)
        assert button.locator("..").get_attribute("aria-sort") == order
    button.click()
    assert column(page, place) == given


def test_rows_are_filtered_and_columns_hidden(visit: Open) -> None:
    page = visit()
    page.get_by_role("searchbox", name="Filter rows").fill("alert(1) uncert")
    assert column(page, 0) == [UGLY]
    assert page.locator("#results-controls .count").inner_text() == "1 of 5 rows"
    page.get_by_role("searchbox", name="Filter rows").fill("")
    balancer = page.get_by_label("Show rows with this balancer")
    balancer.select_option("uncertainty")
    assert column(page, 0) == [UGLY]
    counted = page.get_by_label("Show rows with this method").locator("option")
    assert sorted(re.findall(r"\((\d)\)$", counted.nth(i).inner_text())[0] for i in range(6)) == list(
        "000011"
    )
    page.get_by_text("Columns").click()
    page.get_by_label("depth rmse").uncheck()
    heads = page.locator("#results-table thead th:visible").all_inner_texts()
    assert not [head for head in heads if "depth" in head or "rmse" in head]
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.get_by_role("button", name="Copy CSV").click()
    heading, line = page.evaluate("window.copied").splitlines()
    assert {"method", "semseg mIoU ↑", "Δm (%) ↑"} <= set(heading.split(","))
    assert "depth rmse ↓" not in heading
    assert line.startswith(UGLY)
    page.get_by_role("button", name="Copy LaTeX").click()
    assert r"a\_b \& 100\% \textless{}script" in page.evaluate("window.copied")


def test_a_failed_cell_has_a_page(visit: Open) -> None:
    page = visit("#cells")
    first = page.locator("#cells-table tbody tr").first
    first.wait_for()
    assert FAILED.id in first.inner_text()
    page.get_by_label("Show cells in this state").select_option("done")
    assert page.locator("#cells-table tbody tr").count() == 3
    page.get_by_label("Show cells in this state").select_option("failed")
    first.get_by_role("link").click()
    page.locator("article h1").wait_for()
    text = page.inner_text("article")
    assert MESSAGE in text
    assert TRACEBACK in text
    assert "last line </pre>" in text
    assert "mtlbench run-cell" in text
    assert page.locator("article figure svg path").count() > 3
    page.go_back()
    page.locator("#results-table").wait_for()
    assert page.locator("article:visible").count() == 0


def test_an_address_leads_to_a_cell(visit: Open) -> None:
    page = visit(f"#cell/{DONE.id}")
    page.locator("article h1").wait_for()
    assert page.locator("article h1").inner_text() == DONE.id
    assert page.locator("tr.primary").first.inner_text().split() == ["depth.rmse.pixels", "0.5"]
    assert visit("#cell/nobody").locator("#results-table").is_visible()


def test_the_slider_moves_the_line_by_keys(visit: Open) -> None:
    page = visit("#gallery")
    slider = page.get_by_role("slider")
    slider.focus()
    clip = "getComputedStyle(document.querySelector('.cover')).clipPath"
    before = page.evaluate(clip)
    page.keyboard.press("Home")
    assert page.evaluate(clip) == "inset(0px 0px 0px 0%)"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(clip) == "inset(0px 0px 0px 1%)" != before
    source = page.locator(".cover").get_attribute("src")
    page.get_by_label("Task", exact=True).select_option("depth")
    assert page.locator(".cover").get_attribute("src") != source
    page.get_by_label("Row", exact=True).select_option(label=f"{UGLY} · uncertainty")
    assert UGLY in page.locator(".comparison [role=status]").inner_text()


def test_dark_and_narrow(visit: Open) -> None:
    colours = {
        scheme: visit(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
    for place in ("", f"#cell/{FAILED.id}"):
        page = visit(place, width=400)
        page.locator("article h1" if place else "#results-table").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_thousand_cells(visit: Open, tmp_path: Path) -> None:
    results = with_pages(make_results(candidates=2, seeds=2, cosines=False), seeds=250)
    path = write(results, tmp_path, plotly=False)
    assert path.stat().st_size + len(html_interactive.library() or "") < 25e6
    page = visit("#cells", path=path)
    page.get_by_role("button", name="Show all 1000").click()
    assert page.locator("#cells-table tbody tr").count() == 1000
    page.get_by_role("searchbox", name="Filter cells").fill("cell-3-s249")
    page.get_by_role("link", name="cell-3-s249").click()
    page.locator("article .metrics").first.wait_for()
    assert page.inner_text("article h1") == "cell-3-s249"

"""CSV, Markdown and LaTeX, read back and compared with the table."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mtlbench.reports.csv import csv, tidy
from mtlbench.reports.gain import gain
from mtlbench.reports.latex import environment, escape, latex
from mtlbench.reports.markdown import markdown
from results_factory import UGLY, make_results, unfinished, without_seeds

from mtlbench.entries import DASH
from mtlbench.layouts.choose import LAYOUTS
from mtlbench.layouts.main import main_table, with_look
from mtlbench.layouts.settings import COST_NAMES
from mtlbench.registry import registry
from mtlbench.results import Results
from mtlbench.table import Table, tabulate


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two incomplete rows, an ugly label, a failure."""
    made = make_results(tmp_path, labels=("DeGMix", UGLY, "MTI-Net"), seeds=2, failures=True)
    return without_seeds(without_seeds(made, 1, (1,), "1 of 2 seeds"), 2, (0, 1), "failed: hang & <out>")


def unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell)


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Cells of each table, without the rule."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    split = [[re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.splitlines()] for block in blocks]
    return [[[cell.strip() for cell in line] for i, line in enumerate(lines) if i != 1] for lines in split]


def test_csv_holds_every_number(results: Results, tmp_path: Path) -> None:
    path, _ = csv(results, tmp_path)
    read = pd.read_csv(path, keep_default_na=True)
    scores = read[read["task"].notna()]
    joined = scores.merge(results.scores, on=["row", "seed", "task", "metric"], suffixes=("", "_given"))
    assert len(joined) == len(scores) == len(results.scores)
    assert (joined["value"] == joined["value_given"]).all()
    assert set(scores["metric"]) == {*results.scores["metric"]}
    for name, frame in {
        "delta_m": results.delta_m,
        "parameters": results.costs,
        "macs": results.costs,
        "module_macs": results.costs,
    }.items():
        lines = read[read["metric"] == name].merge(frame, on=["row", "seed"])
        assert len(lines) == len(frame)
        assert (lines["value"] == lines[name]).all()
    assert UGLY in set(read["method"])
    (lost,) = read[read["row"] == 2].to_dict("records")
    assert lost["state"] == "failed: hang & <out>"
    assert pd.isna(lost["value"])


def test_markdown_tables_equal_the_tables(results: Results, tmp_path: Path) -> None:
    path, *pictures = markdown(results, tmp_path)
    main, gains, failures = markdown_tables(path.read_text(encoding="utf-8"))
    for found, table in ((main, main_table(results)), (gains, gain(results))):
        assert isinstance(table, Table)
        assert len(found) == 1 + len(table.lines)
        for cells, line in zip(found[1:], table.lines, strict=True):
            for cell, entry in zip(cells, line.entries, strict=True):
                mark = {"best": "**", "second": "_", None: ""}[entry.rank]
                assert unescaped(cell) == f"{mark}{' '.join(entry.text.split())}{mark}"
    assert failures[1][1] == "diverged"
    text = path.read_text(encoding="utf-8")
    assert "<script" not in re.sub(r"\\.", "", text)
    links = re.findall(r"\]\((.+?)\)", text)
    assert [tmp_path / link for link in links] == pictures
    assert all((tmp_path / link).stat().st_size > 1000 for link in links)


def test_gain_is_the_distance_to_the_constant_predictor() -> None:
    results = make_results()
    table, gains = tabulate(results), gain(results)
    assert gains is not None
    constant, row = (next(line for line in table.lines if line.row == r) for r in (5, 0))
    gained = next(line for line in gains.lines if line.row == 0)
    for task, sign in (("semseg", 1), ("depth", -1)):
        value, base = (line.entries[table.index(task)].mean for line in (row, constant))
        assert gained.entries[gains.index(task)].mean == pytest.approx(sign * (value - base))
        percent = gained.entries[gains.index(f"{task}_percent")]
        assert percent.mean == pytest.approx(100 * sign * (value - base) / base)
        assert percent.value.startswith("+")
    assert {line.role for line in gains.lines} == {"baseline", "candidate"}


def test_gain_needs_a_constant_row() -> None:
    assert gain(make_results(reference=False)) is None


def test_gain_of_a_missing_number_is_a_dash() -> None:
    gains = gain(without_seeds(make_results(), 0, (0, 1, 2), "failed"))
    assert gains is not None
    line = next(line for line in gains.lines if line.row == 0)
    assert {e.value for c, e in zip(gains.columns, line.entries, strict=True) if c.numeric} == {DASH}


def test_latex_numbers_equal_the_table(results: Results) -> None:
    text, table = environment(results), main_table(results)
    body = [line for line in text.splitlines() if r"\tabularnewline" in line][2:]
    assert len(body) == len(table.lines)
    for source, line in zip(body, table.lines, strict=True):
        cells = re.split(r"(?<!\\) & ", source.split(r" \tabularnewline")[0])
        for column, cell, entry in zip(table.columns, cells, line.entries, strict=True):
            if column.numeric:
                plain = cell.replace("$-$", "−").replace(r"{\scriptsize$\pm$", "±")  # noqa: RUF001
                plain = re.sub(r"\\(?:textbf|underline|scriptsize)|[{}]", "", plain).replace("---", DASH)
                assert plain.replace("/", " of ") == entry.text
            assert ("textbf" in cell) == (entry.rank == "best")
    assert text.count(r"\midrule") == 3
    assert r"$\Delta_m$" in text


def test_latex_escapes() -> None:
    assert escape("a_b & 5% <x> #1 $y$ {z} ^~ \\") == (
        r"a\_b \& 5\% \textless{}x\textgreater{} \#1 \$y\$ \{z\} \textasciicircum{}\textasciitilde{} "
        r"\textbackslash{}"
    )
    assert escape("Δm (\N{GREEK SMALL LETTER ALPHA})") == r"$\Delta_m$ ($\alpha$)"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("layout", [*LAYOUTS, "wide"])
def test_latex_compiles_and_fits(layout: str, results: Results, tmp_path: Path) -> None:
    """Every layout with ugly labels, and one of more columns than a page is wide."""
    settings = {row: {"method": {"name": "x", "options": {UGLY: [UGLY, str(row)]}}} for row in range(3)}
    wide = {"columns": ["labels", *[task.metric for task in results.tasks], "tasks", "trained", *COST_NAMES]}
    look = wide if layout == "wide" else {"layout": layout}
    _, document = latex(with_look(replace(results, settings=settings), look), tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


@pytest.mark.parametrize("name", ["markdown", "latex", "csv", "figures", "html"])
def test_grid_that_has_nothing_yet(name: str, tmp_path: Path) -> None:
    results = unfinished(make_results())
    paths = registry.load("report", name)(results, tmp_path)
    assert all(path.is_file() for path in paths)
    assert all("Single task" in path.read_text() for path in paths if path.name != "table_document.tex")
    assert (name == "figures") == (not paths)


def test_numbers_are_written_as_pandas_writes_them(results: Results, tmp_path: Path) -> None:
    """Ugly labels, and rows without numbers among them."""
    scores, expected = csv(results, tmp_path)[0], tmp_path / "expected.csv"
    tidy(results).to_csv(expected, index=False)
    assert scores.read_bytes() == expected.read_bytes()

"""The main table for a paper, and the one of what balancers cost."""

# ruff: noqa: RUF001 (the characters that are replaced)
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from mtlbench import balancer_table
from mtlbench.caption import caption
from mtlbench.entries import Entry
from mtlbench.layouts.main import main_table
from mtlbench.results import Results
from mtlbench.table import Column, Table

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "—": "---",
    "–": "--",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "[": "{[}",
    "]": "{]}",
    "✓": r"$\checkmark$",
}
_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "η": "eta",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "ω": "omega",
    "Γ": "Gamma",
    "Δ": "Delta",
    "Λ": "Lambda",
    "Σ": "Sigma",
    "Ω": "Omega",
}
_LONG = 26  # characters
_LABEL_CM = 4
_LANDSCAPE = 25
"""With more lines, the document that shows the table is upright."""
_NARROWED = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}"
_ESCAPES = str.maketrans({**_COMMANDS, **{letter: f"$\\{name}$" for letter, name in _GREEK.items()}})
_DOCUMENT = r"""% Shows the tables alone: pdflatex table_document.tex
\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[a4paper,landscape,margin=1.5cm]{geometry}
\usepackage{booktabs,graphicx,amssymb}
\begin{document}
\input{table}
\IfFileExists{balancers.tex}{\input{balancers}}{}
\IfFileExists{protocols.tex}{\input{protocols}}{}
\IfFileExists{statistics.tex}{\input{statistics}}{}
\end{document}
"""


def latex(results: Results, folder: Path) -> list[Path]:
    r"""Write `table.tex`, for \input into a paper, and a document that shows the tables alone.

    `balancers.tex` is there if a balancer costs something.
    """
    upright = len(main_table(results).lines) > _LANDSCAPE
    document = _DOCUMENT.replace("landscape,", "") if upright else _DOCUMENT
    texts = {"table.tex": environment(results), "table_document.tex": document}
    costs = balancer_table.balancers(results)
    if costs:
        words = " ".join(
            [balancer_table.HEADING + ".", balancer_table.EXPLANATION, *balancer_table.warnings(results)]
        )
        texts["balancers.tex"] = table_environment(costs, words, f"{results.grid}-balancers")
    else:
        (folder / "balancers.tex").unlink(missing_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def environment(results: Results) -> str:
    """The `table*` environment with caption and label."""
    return table_environment(main_table(results), caption(results), results.grid)


def table_environment(table: Table, words: str, label: str) -> str:
    """A table under a caption of some words; one that is wider than the page is made smaller."""
    alignment = [_alignment(table, i) for i in range(len(table.columns))]
    lines = [
        r"\begin{table*}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3.5pt}\setlength{\belowcaptionskip}{4pt}%",
        rf"\caption{{{escape(words)}}}",
        rf"\label{{tab:{_slug(label)}}}",
        _NARROWED + "{!}{%",
        rf"\begin{{tabular}}{{@{{}}{''.join(alignment)}@{{}}}}",
        r"\toprule",
        *_headings(table.columns),
        r"\midrule",
        *_body(table, breaking={i for i, how in enumerate(alignment) if how.startswith("p")}),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table*}",
    ]
    text = "\n".join(lines) + "\n"
    packages = "booktabs,graphicx" + (",amssymb" if r"\checkmark" in text else "")
    return rf"% needs \usepackage{{{packages}}}" + "\n" + text


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return " ".join(text.split()).replace("Δm", "\0").translate(_ESCAPES).replace("\0", r"$\Delta_m$")


def _headings(columns: Sequence[Column]) -> list[str]:
    """Tasks, where there are any, over their columns, with a rule under each; then the headings."""
    tasks, rules, at = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        tasks += [rf"\multicolumn{{{span}}}{{c}}{{{escape(group)}}}"] if group else [""] * span
        rules += [rf"\cmidrule(lr){{{at}-{at + span - 1}}}"] if group else []
        at += span
    headings = [
        rf"\multicolumn{{1}}{{c}}{{{escape(c.title)}}}" if c.numeric else escape(c.title) for c in columns
    ]
    return [_row(tasks), "".join(rules), _row(headings)] if rules else [_row(headings)]


def _body(table: Table, breaking: set[int]) -> list[str]:
    """The lines, with rules between blocks; labels in columns that break lines are flush left."""
    lines = [
        _row(
            (r"\raggedright " if i in breaking else "") + _entry(e, printed=bool(line.published))
            for i, e in enumerate(line.entries)
        )
        for line in table.lines
    ]
    for i, (line, following) in reversed(list(enumerate(pairwise(table.lines)))):
        if line.block != following.block:
            lines.insert(i + 1, r"\midrule")
    return lines


def _alignment(table: Table, column: int) -> str:
    """Numbers flush right; a column of long labels breaks its lines."""
    if table.columns[column].numeric:
        return "r"
    longest = max((len(line.entries[column].value) for line in table.lines), default=0)
    return f"p{{{_LABEL_CM}cm}}" if longest > _LONG else "l"


def _entry(entry: Entry, *, printed: bool) -> str:
    value = escape(entry.marked)
    if printed and value not in ("", "---"):
        value = rf"\textit{{{value}}}"
    if entry.rank:
        value = rf"\{'textbf' if entry.rank == 'best' else 'underline'}{{{value}}}"
    spread = rf" {{\scriptsize$\pm$ {escape(entry.spread)}}}" if entry.spread else ""
    note = rf" {{\scriptsize({escape(entry.note.replace(' of ', '/'))})}}" if entry.note else ""
    gap = rf" {{\scriptsize({escape(entry.gap_text)})}}" if entry.gap_text else ""
    return f"{value}{spread}{note}{gap}"


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \tabularnewline"  # not \\, which \raggedright redefines


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text)

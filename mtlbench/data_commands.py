"""What `mtlbench data check` does; `mtlbench.cli` handles arguments."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mtlbench.checking import Finding, State
from mtlbench.errors import DataError
from mtlbench.options import build_options, one_choice, parse_assignment
from mtlbench.registry import registry

EXIT_WHOLE, EXIT_DAMAGED = 0, 1
STYLES: dict[State, str] = {"ok": "green", "unusual": "yellow", "damaged": "red"}


def check(name: str, root: str, console: Console, *, count: int | None, options: Sequence[str]) -> int:
    """Print what a data set holds and what is wrong with it; 1 if anything is damaged.

    Args:
        name: of the data set.
        root: its folder.
        console: to print to.
        count: samples to read of each split; None: all.
        options: further options of the data set, "key=value".
    """
    choice = one_choice(registry, "dataset", name, {**dict(map(parse_assignment, options)), "root": root})
    dataset, built = registry.load("dataset", name), build_options(registry, "dataset", choice)
    columns = SpinnerColumn(), TextColumn("{task.completed} samples and files"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        work = progress.add_task("")
        try:
            findings = dataset.check(count, lambda done: progress.advance(work, done), **built)
        except DataError as error:
            findings = [Finding("opening", str(error), "damaged")]
    _print(findings, console)
    damaged = sum(finding.state == "damaged" for finding in findings)
    unusual = sum(finding.state == "unusual" for finding in findings)
    verdict = f"[red]{damaged} damaged[/]" if damaged else "[green]nothing damaged[/]"
    console.print(f"{escape(name)} in {escape(root)}: {verdict}, {unusual} unusual", soft_wrap=True)
    return EXIT_DAMAGED if damaged else EXIT_WHOLE


def _print(findings: Sequence[Finding], console: Console) -> None:
    table = Table("check", "found", "", box=None)
    for finding in findings:
        table.add_row(
            escape(finding.what), escape(finding.found), f"[{STYLES[finding.state]}]{finding.state}[/]"
        )
    console.print(table)

"""The main table of a report: the grid's layout, with what papers printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.layouts.choose import LAYOUTS, layout_of
from mtlbench.layouts.columns import check, columns
from mtlbench.layouts.printed_lines import with_printed
from mtlbench.layouts.settings import ReportSettings
from mtlbench.options import complaint
from mtlbench.results import Results
from mtlbench.table import Table, assembled, sheet_of, state

_TABLES: WeakKeyDictionary[Results, Table] = WeakKeyDictionary()


def main_table(results: Results) -> Table:
    """The table that a report begins with.

    Raises:
        MtlbenchError: `report.columns` names what no table could have.
    """
    if results not in _TABLES:
        _TABLES[results] = _made(results)
    return _TABLES[results]


def with_look(results: Results, look: Mapping[str, object] | None) -> Results:
    """The same results whose table looks otherwise: keys of `ReportSettings`, those with None left out.

    Raises:
        MtlbenchError: a value is wrong, or a column is none that a table of the results could have.
    """
    changes = {key: value for key, value in (look or {}).items() if value is not None}
    if changes:
        try:
            settings = ReportSettings.model_validate(results.report.model_dump() | changes)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {complaint(e)}" for e in error.errors())
            raise MtlbenchError(said) from error
        results = replace(results, report=settings)
    check(results, results.report.columns)
    return results


def _made(results: Results) -> Table:
    name, settings = layout_of(results), results.report
    layout = LAYOUTS[name]
    group = layout.group if settings.group == "auto" else settings.group.removeprefix("none")
    sheet = sheet_of(results, group=group, spread=settings.spread)
    listed = columns(sheet, settings.columns or layout.columns, asked=settings.columns is not None)
    if not any(column.name == "state" for column, _ in listed):
        listed += state(sheet)
    table = assembled(sheet, listed, name)
    return with_printed(table, results, group) if results.published else table

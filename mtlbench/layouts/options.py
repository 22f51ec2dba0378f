"""Options of plugins as columns: which of them vary, and what each row has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlbench.entries import CHECK, DASH, Entry
from mtlbench.layouts.settings import OPTIONS_OF
from mtlbench.results import Results
from mtlbench.table import Column, Listed, Sheet

_ABSENT = object()


def plugin_of(results: Results, row: int, family: str) -> str | None:
    """Name of a row's method, balancer or tuning; None where nobody stored it."""
    choice = results.settings.get(row, {}).get(family)
    return None if choice is None else str(choice["name"])


def varying(sheet: Sheet) -> list[str]:
    """`method.depth` and the like: options in which candidates of one plugin differ."""
    found: list[str] = []
    for family in OPTIONS_OF:
        by_plugin: dict[str, list[int]] = {}
        for row in sheet.rows.index[sheet.rows["role"] == "candidate"]:
            name = plugin_of(sheet.results, row, family)
            if name is not None:
                by_plugin.setdefault(name, []).append(int(row))
        for rows in by_plugin.values():
            names = dict.fromkeys(n for row in rows for n in _given(sheet.results, row, family))
            for name in names:
                values = {repr(value_of(sheet.results, row, family, name)) for row in rows}
                if len(values) > 1:
                    found.append(f"{family}.{name}")
    return list(dict.fromkeys(found))


def option_columns(sheet: Sheet, name: str) -> list[Listed]:
    """The column of one option, or one for each element with check marks, where values are lists of names."""
    family, _, option = name.partition(".")
    rows = [int(row) for row in sheet.rows.index]
    values = [value_of(sheet.results, row, family, option) for row in rows]
    lists = [value for value in values if isinstance(value, list)]
    if lists and all(isinstance(element, str) for value in lists for element in value):
        elements = dict.fromkeys(element for value in lists for element in value)
        return [
            (
                Column(f"{name}.{element}", element, "label", option),
                [Entry(CHECK if isinstance(v, list) and element in v else DASH) for v in values],
            )
            for element in elements
        ]
    return [(Column(name, option, "label"), [Entry(_text(value)) for value in values])]


def value_of(results: Results, row: int, family: str, option: str) -> Any:
    """What a row has; `default` where it says nothing and the default wasn't stored, else absent."""
    plugin = plugin_of(results, row, family)
    given = _given(results, row, family)
    if plugin is None or option in given:
        return given.get(option, _ABSENT)
    defaults = results.defaults.get(family, {}).get(plugin)
    if defaults is not None:
        return defaults.get(option, _ABSENT)
    others = (other for other in results.settings if plugin_of(results, other, family) == plugin)
    return "default" if any(option in _given(results, other, family) for other in others) else _ABSENT


def _given(results: Results, row: int, family: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = results.settings.get(row, {}).get(family, {}).get("options", {})
    return options


def _text(value: Any) -> str:
    if value is _ABSENT or value is None:
        return DASH
    if isinstance(value, bool):
        return CHECK if value else DASH
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(element)}" for key, element in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)

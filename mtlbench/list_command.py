"""`mtlbench list`: plugins with what they are and where they come from, metrics with what they measure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtlbench.errors import MtlbenchError
from mtlbench.registry import FAMILIES, Plugin, registry, unknown

METRICS = ("metric", "metrics")


def list_plugins(
    family: str | None, task: str | None, console: Console, *, options: bool, plugins: Sequence[str]
) -> None:
    """Print the plugins of one family, or of all; the metrics of one task, or of all.

    Raises:
        MtlbenchError: no such family or task.
    """
    if family in METRICS:
        _list_metrics(task, console)
        return
    if task is not None:
        raise MtlbenchError(f"only `list metrics` takes a task, got `list {family} {task}`")
    for file in plugins:
        registry.add_file(file)
    families = FAMILIES if family is None else (_family(family),)
    for name in families:
        table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
        for plugin in registry.offered(name):
            table.add_row(escape(plugin.name), escape(plugin.summary), f"[dim]{escape(plugin.origin)}[/]")
            if plugin.source:
                table.add_row("", f"[dim]{escape(plugin.source)}[/]", "")
            shown = options and "*" not in plugin.name
            for line in _option_lines(registry.get(name, plugin.name)) if shown else []:
                table.add_row("", f"[cyan]{escape(line)}[/]", "")
        console.print(table)


def _family(name: str) -> str:
    singular = name.removesuffix("s")
    if singular not in FAMILIES:
        raise MtlbenchError(unknown("plugin family", name, (*FAMILIES, "metric")))
    return singular


def _list_metrics(task: str | None, console: Console) -> None:
    """A table for each task: name, what it measures, range, who publishes it."""
    from mtlbench import catalogue

    if task is not None and task not in catalogue.tasks():
        raise MtlbenchError(unknown("task", task, catalogue.tasks()))
    for name in catalogue.tasks() if task is None else (task,):
        table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
        for variant in catalogue.variants(name):
            better = "higher" if variant.higher_is_better else "lower"
            facts = f"{variant.range}, {better} is better; {variant.published_by}"
            table.add_row(escape(variant.name), escape(variant.summary), f"[dim]{escape(facts)}[/]")
        console.print(table)


def _option_lines(plugin: Plugin) -> list[str]:
    """Each option with its type, its default, and between which values the plugin says that it be tuned."""
    lines = []
    target, options = plugin.load(), plugin.options()
    spaces = getattr(target, "search_space", {})
    for option in options.values():
        kind = getattr(option.annotation, "__name__", None)
        shown = (
            kind
            if isinstance(option.annotation, type) and kind
            else str(option.annotation).replace("typing.", "")
        )
        default = "" if option.required else f" = {option.default!r}"
        space = f"; tuned: {spaces[option.name]}" if option.name in spaces else ""
        lines.append(f"{option.name}: {shown}{default}{space}")
    if stands_in := getattr(target, "tuned_as", None):
        other = {name: domain for name, domain in spaces.items() if name not in options}
        lines += [f"tuned as {stands_in}: {name}, {domain}" for name, domain in other.items()]
    return lines

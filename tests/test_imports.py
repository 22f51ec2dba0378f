"""Who may import whom, who may know whose name, and how long a file may be: read from the sources."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from mtlbench.registry import registry
from mtlbench.tasks import Task

ROOT = Path(__file__).parent.parent
PLUGIN_FOLDERS = ("methods", "balancers", "tunings", "datasets", "reports")
ALL = ("mtlbench", "grids", *PLUGIN_FOLDERS, "tests", "benchmarks")
LONGEST = 400
BACKBONES = ROOT / "mtlbench" / "backbones"
"""A family that lives in the harness; its files may name its plugins."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and absolute module of every import, also inside functions; relative ones start with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, f"{base}{alias.name}") for alias in node.names)


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and value of every text that is compared, matched, or looked for in a collection."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [inner for side in (node.left, *node.comparators) for inner in ast.walk(side)]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value


def plugin_family(module: str) -> str | None:
    """The plugin folder that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mtlbench" and len(parts) > 1 and parts[1] in PLUGIN_FOLDERS else None


def offenders(paths: Iterable[Path], find: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """What `find` finds, by file; files where it finds nothing are left out."""
    found = {str(path.relative_to(ROOT)): list(find(path)) for path in paths}
    return {name: entries for name, entries in found.items() if entries}


def test_the_harness_imports_no_plugin() -> None:
    found = offenders(sources("mtlbench"), lambda p: (f for f in imported(parsed(p)) if plugin_family(f[1])))
    assert found == {}


@pytest.mark.parametrize("family", PLUGIN_FOLDERS)
def test_plugins_import_the_harness_and_their_own_folder(family: str) -> None:
    """Of their own folder by relative imports, which don't lead out of it."""

    def outside(path: Path) -> Iterator[object]:
        depth = len(path.relative_to(ROOT).parts)
        for line, module in imported(parsed(path)):
            if plugin_family(module) or module.startswith("." * depth):
                yield line, module

    assert offenders(sources(family), outside) == {}


def test_reports_import_no_torch() -> None:
    heavy = ("torch", "torchvision", "torchmetrics", "lightning_fabric", "timm")
    found = offenders(
        sources("reports"), lambda p: (f for f in imported(parsed(p)) if f[1].split(".")[0] in heavy)
    )
    assert found == {}


LOAD_REPORTS = """
from mtlbench.registry import registry
for plugin in registry.plugins('report'):
    plugin.load()
"""


@pytest.mark.parametrize(
    "code",
    ["import mtlbench.store, mtlbench.compare_command", f"import mtlbench.report_command\n{LOAD_REPORTS}"],
    ids=["store", "report"],
)
def test_reading_results_imports_no_torch(code: str) -> None:
    """Neither does anything that these import."""
    code = f"import sys\n{code}\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*ALL)}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


@cache
def names() -> frozenset[str]:
    """Tasks, data sets, methods and balancers."""
    found = {name for family in ("dataset", "method", "balancer") for name in registry.names(family)}
    return frozenset(found | {task for plugin in registry.plugins("dataset") for task in plugin.load().tasks})


def test_the_harness_asks_for_no_name() -> None:
    files = [path for path in sources("mtlbench") if BACKBONES not in path.parents]
    assert offenders(files, lambda p: (f for f in compared(parsed(p)) if f[1] in names())) == {}


def test_the_names_are_known() -> None:
    assert {"semseg", "edge", "rooms", "nyud", "degmix", "pcgrad"} <= names()
    assert all(isinstance(t, Task) for p in registry.plugins("dataset") for t in p.load().tasks.values())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import mtlbench.methods.degmix", True),
        ("from mtlbench.datasets import rooms", True),
        ("from mtlbench import balancers", True),
        ("def f():\n    from mtlbench.reports.html import write", True),
        ("from mtlbench import tasks, metrics", False),
        ("import datasets", False),
    ],
)
def test_plugin_imports_are_noticed(code: str, expected: bool) -> None:
    assert any(plugin_family(module) for _, module in imported(ast.parse(code))) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = name == 'semseg'", ["semseg"]),
        ("if 'depth' != task.name: pass", ["depth"]),
        ("y = name in ('semseg', 'edge')", ["semseg", "edge"]),
        ("match name:\n    case 'rooms': pass", ["rooms"]),
        ("z = {'semseg': 1}['semseg']", []),
    ],
)
def test_comparisons_are_noticed(code: str, expected: list[str]) -> None:
    assert [value for _, value in compared(ast.parse(code))] == expected

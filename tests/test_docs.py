"""The documentation tells the truth: its grid files load, its examples run, its names and links exist."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from conftest import TINY_PLUGINS
from grid_runs import GridRuns

from mtlbench import testing
from mtlbench.cli import app
from mtlbench.config import GridFile, load_grid
from mtlbench.registry import Registry
from mtlbench.spec import Execution, Recipe

ROOT = Path(__file__).parent.parent
PAGES = [page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if page.is_file()]
GUIDES = {
    "method": "methods",
    "backbone": "methods",
    "balancer": "balancers",
    "dataset": "datasets",
    "report": "reports",
    "protocol": "protocols",
    "tuning": "tunings",
}
"""Which page names the plugins of a family."""


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced code blocks of a page whose info string is `kind`."""
    pattern = rf"^```{re.escape(kind)}\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """The files of CONTRIBUTING.md: blocks whose first line is a comment with a file name."""
    page = ROOT / "CONTRIBUTING.md"
    found = [block.split("\n", 1) for kind in ("python", "toml") for block in blocks(page, kind)]
    return {first.removeprefix("# "): rest for first, rest in found}


def write_examples(folder: Path) -> dict[str, str]:
    files = examples()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return files


@pytest.fixture
def example_folder(tmp_path: Path) -> Path:
    """All of the examples as files."""
    write_examples(tmp_path)
    return tmp_path


GRIDS = [(page, block) for page in PAGES for block in blocks(page, "yaml grid")]


@pytest.mark.parametrize(("page", "block"), GRIDS, ids=lambda value: getattr(value, "stem", ""))
def test_grids_load(page: Path, block: str, example_folder: Path) -> None:
    file = example_folder / "grid.yaml"
    file.write_text(block)
    assert load_grid(file, Registry()).methods


def test_there_are_grids_to_load() -> None:
    assert {page.stem for page, _ in GRIDS} >= {"grids", "balancers", "CONTRIBUTING"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    named = re.findall(r"`mtlbench\s+([a-z][a-z-]*)", text)
    named += [match[1] for line in lines if (match := re.match(r"(?:\S*/)?mtlbench ([a-z][a-z-]*)", line))]
    commands = typer.main.get_command(app)
    assert set(named) <= set(commands.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"


def anchors(page: Path) -> set[str]:
    """What headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("model", [GridFile, Recipe, Execution], ids=lambda model: model.__name__)
def test_grid_keys_are_documented(model: Any) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs/grids.md").read_text(), flags=re.MULTILINE)
    documented = dict(rows)
    for name, field in model.model_fields.items():
        assert name in documented, f"docs/grids.md lacks `{name}` of {model.__name__}"
        default = documented[name].strip("`")
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            assert yaml.safe_load(default) == field.default, f"docs/grids.md: default of `{name}`"


@pytest.mark.parametrize("family", GUIDES)
def test_plugins_are_named(family: str) -> None:
    text = (ROOT / f"docs/{GUIDES[family]}.md").read_text(encoding="utf-8")
    ours = [plugin.name for plugin in Registry().plugins(family) if plugin.origin.startswith("mtlbench ")]
    assert ours
    missing = [name for name in ours if f"`{name}`" not in text and f"## {name}" not in text]
    assert not missing, f"docs/{GUIDES[family]}.md doesn't name {missing}"


CHECKS: list[tuple[str, str, str, Callable[..., None], dict[str, Any]]] = [
    ("small_heads.py", "method", "small_heads", testing.check_method, {"width": 8}),
    ("unit_gradients.py", "balancer", "unit_gradients", testing.check_balancer, {"power": 0.5}),
    ("discs.py", "dataset", "discs", testing.check_dataset, {"images": 8}),
]


@pytest.mark.parametrize(("file", "family", "name", "check", "options"), CHECKS, ids=lambda v: str(v)[:20])
def test_example_plugins_conform(
    file: str,
    family: str,
    name: str,
    check: Callable[..., None],
    options: dict[str, Any],
    example_folder: Path,
) -> None:
    plugins = Registry()
    plugins.add_file(example_folder / file)
    plugin = plugins.get(family, name)
    assert plugin.summary
    assert set(options) <= set(plugin.options())
    check(plugin.load(), **options)
    test = examples()[f"test_{name}.py"]
    assert f"{check.__name__}({plugin.load().__name__}, " in test


def test_example_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_examples(tmp_path)
    for name in ("small_heads.py", "unit_gradients.py", "discs.py"):
        (tmp_path / name).rename(tmp_path / "my_lab" / name)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    (group, points), *_ = project["entry-points"].items()
    info = tmp_path / "my_lab-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Registry()
    for _, family, name, *_ in CHECKS:
        found = plugins.get(family, name)
        assert found.origin == "my-lab 0.1.0"
        assert found.load().__module__ == f"my_lab.{name}"
    for module in [module for module in sys.modules if module.partition(".")[0] == "my_lab"]:
        del sys.modules[module]


def test_examples_run_together(tmp_path: Path) -> None:
    write_examples(tmp_path)
    runs = GridRuns(tmp_path)
    runs.write(
        plugins=["small_heads.py", "unit_gradients.py", "discs.py", str(TINY_PLUGINS)],
        dataset={"name": "discs", "images": 8},
        method={"name": "small_heads", "width": 4},
        balancer="unit_gradients",
        recipe={"iterations": 3, "batch_size": 2},
    )
    done = runs.run()
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = runs.results().values()
    assert set(result["scores"]) == {"semseg", "depth"}

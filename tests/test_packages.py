"""What a user installs: the wheel, an editable install, and a package of other plugins beside them."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import TINY_PLUGINS

from mtlbench.registry import FAMILIES, Registry

ROOT = Path(__file__).parent.parent
PLUGIN_FOLDERS = ("methods", "balancers", "tunings", "datasets", "reports", "grids")
TIMEOUT = 300

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """What a command prints; it must end with `code`."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class Environment:
    """A fresh environment that sees this one's dependencies, but not its editable mtlbench."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.folder = folder
        self.python = folder / "bin" / "python"
        site = next(folder.glob("lib/python*/site-packages"))
        beside = [path for path in sys.path if path.endswith("site-packages")]
        (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in beside))

    def install(self, *what: str | Path) -> None:
        options = ["--no-deps", "--no-build-isolation", "--ignore-installed", "--no-index", "--quiet"]
        call(
            sys.executable, "-m", "pip", "--python", self.python, "install", *options, *what, cwd=self.folder
        )

    def run(self, *arguments: str | Path, code: int = 0, cwd: Path | None = None) -> str:
        return call(self.python, *arguments, cwd=cwd or self.folder, code=code)

    def listing(self) -> str:
        return call(self.folder / "bin" / "mtlbench", "list", cwd=self.folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that are under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", ":!tests"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    folder = tmp_path_factory.mktemp("source") / "mtlbench"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(source, folder / "source")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", copy, cwd=folder)
    return next(folder.glob("mtlbench-*.whl"))


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    environment = Environment(tmp_path_factory.mktemp(request.param) / "env")
    if request.param == "editable":
        environment.install("-e", source)
    else:
        environment.install(request.getfixturevalue("wheel"))
    return environment


def test_the_wheel_holds_all_code_and_nothing_else(wheel: Path, source: Path) -> None:
    expected = set()
    for path in source.rglob("*.*"):
        parts = path.relative_to(source).parts
        if parts[0] == "mtlbench":
            expected.add("/".join(parts))
        elif parts[0] in PLUGIN_FOLDERS:
            expected.add("/".join(("mtlbench", *parts)))
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert files == expected


PARTS = """
import importlib, pathlib, sys
import mtlbench
from mtlbench.config import RECIPES, find_grid
package = pathlib.Path(mtlbench.__file__).resolve().parent
assert package.is_relative_to(pathlib.Path(sys.argv[1]).resolve()), package
for name in "methods.degmix datasets.rooms reports.html balancers.pcgrad tunings.full testing".split():
    importlib.import_module(f"mtlbench.{name}")
assert find_grid("quickstart").read_text()
assert (RECIPES / "quickstart.yaml").is_file()
assert (package / "py.typed").is_file()
assert (pathlib.Path(mtlbench.reports.html.__file__).parent / "templates" / "report.html.j2").is_file()
"""


def test_everything_is_there(installed: Environment, source: Path) -> None:
    editable = "editable" in str(installed.folder.parent)
    installed.run("-c", PARTS, source if editable else installed.folder)


def test_all_built_ins_are_listed(installed: Environment) -> None:
    built_in = [
        plugin
        for family in FAMILIES
        for plugin in Registry().offered(family)
        if plugin.origin.startswith("mtlbench ")
    ]
    lines = {line.split()[0]: line for line in installed.listing().splitlines() if re.match(r" \S", line)}
    assert {plugin.name for plugin in built_in} == lines.keys()
    for plugin in built_in:
        assert plugin.origin in lines[plugin.name]


PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "0.1"
[project.entry-points."mtlbench.plugins"]
all = "{module}:plugins"
[tool.setuptools]
py-modules = ["{module}"]
"""

SAMPLE = '''
from torch import nn
from mtlbench.balancing import Scalarization
from mtlbench.model import Method, Outputs

class Net(Method):
    """One convolution a task."""

    def __init__(self, backbone, tasks, *, bias: bool = True):
        super().__init__(backbone, tasks)
        channels = backbone.channels[0]
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(channels, task.channels, 1, bias=bias) for name, task in tasks.items()}
        )

    def decode(self, features, size):
        return Outputs({t: nn.functional.interpolate(h(features[0]), size) for t, h in self.heads.items()})

class Mean(Scalarization):
    """The mean loss."""

    def total(self, losses, step):
        return losses.mean()

plugins = {"method": {"sample_net": Net}, "balancer": {"sample_mean": Mean}}
'''

GRID = {
    "name": "sample",
    "dataset": "tiny",
    "tasks": ["semseg", "depth"],
    "backbone": "tiny",
    "method": {"name": "sample_net", "bias": False},
    "balancer": "sample_mean",
    "recipe": {"iterations": 2, "batch_size": 2},
}


def write_project(folder: Path, name: str, content: str) -> Path:
    module = name.replace("-", "_")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, module=module))
    (folder / f"{module}.py").write_text(content)
    return folder


def test_a_third_party_package_adds_its_plugins(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env")
    sample = write_project(tmp_path / "sample", "mtlbench-sample", SAMPLE)
    broken = write_project(tmp_path / "broken", "mtlbench-broken", "raise RuntimeError('out of order')\n")
    environment.install(wheel, sample, broken)
    listing = environment.listing()
    lines = {line.split()[0]: line for line in listing.splitlines() if line.startswith(" ")}
    for name in ("sample_net", "sample_mean"):
        assert lines[name].split()[-2:] == ["mtlbench-sample", "0.1"]
    assert "pcgrad" in lines
    assert "plugins of mtlbench-broken 0.1 are left out: RuntimeError: out of order" in listing

    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump({**GRID, "plugins": [str(TINY_PLUGINS)]}))
    environment.run("-m", "mtlbench", "run", grid, "--jobs", "1", cwd=tmp_path)
    (result,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/cells/*/result.json"))
    assert result["cell"]["method"] == {"name": "sample_net", "options": {"bias": False}}
    assert result["scores"].keys() == {"semseg", "depth"}

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mtlbench.errors import MtlbenchError
from mtlbench.list_command import list_plugins
from mtlbench.registry import FAMILIES, Plugin, Registry, unknown


def test_built_ins_come_through_the_entry_points() -> None:
    registry = Registry()
    assert {"multi_task", "single_task", "degmix", "constant"} <= set(registry.names("method"))
    assert {"equal", "fixed", "uncertainty", "dwa", "pcgrad"} <= set(registry.names("balancer"))
    assert {"rooms", "nyud"} <= set(registry.names("dataset"))
    assert registry.get("method", "degmix").origin.startswith("mtlbench ")


def test_every_built_in_loads_and_has_a_summary() -> None:
    registry = Registry()
    for family in FAMILIES:
        assert registry.names(family), family
        for plugin in registry.plugins(family):
            assert callable(plugin.load()), plugin.name
            assert plugin.summary, f"{family} {plugin.name} has no docstring"


def test_every_architecture_says_its_paper_and_where_its_code_comes_from() -> None:
    said = {plugin.name: plugin.source for plugin in Registry().plugins("method")}
    assert said.pop("constant") == ""
    assert len(said) >= 21
    for name, source in said.items():
        assert re.search(r"\b20[12]\d\b", source), f"{name}: no year in {source!r}"
        assert re.search(r"code.* [\w-]+/[\w-]+|our reading", source), f"{name}: no code in {source!r}"


def test_sources_are_read_as_they_would_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'class Net:\n    """Net: a net."""\n\n    paper: str = (\n        "Me, "\n        "ICML"\n    )\n'
    (tmp_path / "one_net.py").write_text(f"{body}    code = 'our reading'\nclass Other(Net):\n    dim = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    read = Plugin("method", "net", "one_net:Net", "here")
    assert read.source == "Me, ICML; our reading"
    assert "one_net" not in sys.modules
    assert Plugin("method", "net", read.load(), "here").source == read.source
    assert Plugin("method", "other", "one_net:Other", "here").source == ""
    assert Plugin("method", "none", "no_such_module:Net", "here").source == ""


def test_listing_imports_no_torch() -> None:
    code = "import sys; sys.argv = ['mtlbench', 'list']; from mtlbench import cli; cli.run_from_arguments()"
    check = f"{code}\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pcgrad" in done.stdout
    assert "Vandenhende, Georgoulis and Van Gool, ECCV 2020; after the released code" in done.stdout


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(MtlbenchError, match=r"unknown balancer `pcgard`: did you mean `pcgrad`"):
        Registry().get("balancer", "pcgard")
    assert unknown("task", "xyz", ["semseg", "depth"]) == "unknown task `xyz`: valid: semseg, depth"


def test_single_file_plugin(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    '''My balancer. More.'''\nplugins = {'balancer': {'mine': Mine}}\n")
    registry = Registry()
    registry.add_file(file)
    registry.add_file(file)  # a second time changes nothing
    plugin = registry.get("balancer", "mine")
    assert plugin.origin == str(file)
    assert plugin.summary == "My balancer"
    assert registry.files == (str(file),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "must hold a mapping `plugins`"),
        ("raise RuntimeError('boom')", "can't be imported: RuntimeError: boom"),
        ("plugins = {'metod': {}}", r"unknown plugin family `metod`: did you mean `method`\?"),
    ],
)
def test_bad_plugin_file(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(content)
    with pytest.raises(MtlbenchError, match=message):
        Registry().add_file(file)


def test_missing_plugin_file() -> None:
    with pytest.raises(MtlbenchError, match=r"plugin file not found: nowhere\.py"):
        Registry().add_file("nowhere.py")


def test_two_providers_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text("class Equal: pass\nplugins = {'balancer': {'equal': Equal}}\n")
    registry = Registry()
    registry.add_file(file)
    with pytest.raises(
        MtlbenchError, match=r"balancer `equal` is offered twice, by mtlbench .* and .*again.py"
    ):
        registry.get("balancer", "equal")


def test_pattern_stands_for_many_names(tmp_path: Path) -> None:
    file = tmp_path / "many.py"
    file.write_text(
        "plugins = {'method': {'net-*': lambda name: (lambda: name) if name != 'net-9' else None}}\n"
    )
    registry = Registry()
    registry.add_file(file)
    assert registry.load("method", "net-3")() == "net-3"
    assert "net-*" not in registry.names("method")
    with pytest.raises(MtlbenchError, match="unknown method `net-9`"):
        registry.get("method", "net-9")


def test_pattern_may_tell_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_others.py").write_text(
        "def names(): return {'net:a': 'The first', 'net:b': 'The second'}\n"
        "def find(name): return dict if name in names() else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "more.py"
    file.write_text("plugins = {'method': {'net:*': ('nets_of_others:find', 'nets_of_others:names')}}\n")
    registry = Registry()
    registry.add_file(file)
    listed = {plugin.name: plugin for plugin in registry.offered("method")}
    assert listed["net:b"].summary == "The second"
    assert listed["net:b"].origin == str(file)
    assert "degmix" in listed
    assert registry.load("method", "net:a") is dict
    with pytest.raises(MtlbenchError, match=r"unknown method `net:c`: did you mean `net:b` or `net:a`\?"):
        registry.get("method", "net:c")


def test_broken_target_names_its_origin() -> None:
    plugin = Plugin("method", "gone", "mtlbench.nowhere:Gone", "somebody 1.0")
    with pytest.raises(MtlbenchError, match=r"method `gone` \(from somebody 1.0\) can't be loaded"):
        plugin.load()


def test_options_come_from_the_signature() -> None:
    options = Registry().get("method", "degmix").options()
    assert options["variant"].default == "corrected"
    assert not options["variant"].required


def test_listed_options_say_between_which_values_they_are_tuned() -> None:
    screen = Console(file=io.StringIO(), width=200)
    file = Path(__file__).parent / "plugins" / "joined.py"
    list_plugins("method", None, screen, options=True, plugins=[str(file)])
    list_plugins("balancer", None, screen, options=True, plugins=[])
    told = screen.file.getvalue()  # type: ignore[attr-defined]
    crossed, stitched = (
        told[told.index(f"\n {name} ") :].partition("weights:")[0] for name in ("cross_stitch", "stitched")
    )
    assert "; tuned: " in crossed
    assert "kill_at: int = 0" in stitched
    assert "tuned" not in stitched  # its parent's option is not one of its own
    assert "tuned as fixed: weights, " in told

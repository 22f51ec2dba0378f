"""The catalogue of variants, and how the command line lists it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench import catalogue
from mtlbench.errors import MtlbenchError

GUIDE = Path(__file__).parents[2] / "docs" / "evaluation.md"
RUN = """import sys
sys.argv = ['mtlbench', *{words!r}]
from mtlbench import cli
code = cli.run_from_arguments()
"""


def listed(*words: str) -> subprocess.CompletedProcess[str]:
    code = f"{RUN.format(words=['list', *words])}assert 'torch' not in sys.modules\nsys.exit(code)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_names_are_unique_and_begin_with_what_they_measure() -> None:
    names = [variant.name for variant in catalogue.variants()]
    assert len(names) == len(set(names))
    prefixes = {"miou", "pixacc", "parts", "sal", "edge", "normals", "depth"}
    assert {name.partition(".")[0] for name in names} == prefixes


@pytest.mark.parametrize("variant", catalogue.variants(), ids=lambda variant: variant.name)
def test_every_entry_is_whole(variant: catalogue.Variant) -> None:
    assert variant.tasks
    assert variant.published_by
    assert variant.range
    assert not variant.summary.endswith(".")
    assert len(variant.column) <= 15
    assert variant.scale == (100 if variant.unit == "share" else 1)
    assert catalogue.find(variant.tasks[0], variant.name) is variant
    assert catalogue.summary(variant.name) == variant.summary


def test_an_unknown_variant_gives_the_nearest() -> None:
    with pytest.raises(MtlbenchError, match=r"`depth.rmse`: did you mean .*`depth.rmse.pixels`"):
        catalogue.find("depth", "depth.rmse")
    assert catalogue.summary("no.such.variant") is None


@pytest.mark.parametrize("word", ["metric", "metrics"])
def test_the_command_line_lists_every_variant(word: str) -> None:
    done = listed(word)
    assert done.returncode == 0, done.stderr
    assert all(variant.name in done.stdout for variant in catalogue.variants())


def test_the_command_line_lists_one_task() -> None:
    done = listed("metrics", "semseg")
    assert "miou.dataset.absentnan" in done.stdout
    assert "parts.atrc" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["metrix"], "unknown plugin family `metrix`: did you mean `metric`?"),
        (["metrics", "semsec"], "unknown task `semsec`: did you mean `semseg`?"),
        (["methods", "semseg"], "only `list metrics` takes a task"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    done = listed(*words)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("variant", catalogue.variants(), ids=lambda variant: variant.name)
def test_the_guide_says_of_every_variant_what_the_catalogue_says(variant: catalogue.Variant) -> None:
    words = variant.summary.replace("|p - g|", "\\|p − g\\|").replace("(p - g)", "(p − g)")  # noqa: RUF001
    better = "higher" if variant.higher_is_better else "lower"
    row = f"| `{variant.name}` | {words} | {variant.range} | {better} | {variant.published_by} |"
    assert row in GUIDE.read_text(encoding="utf-8").splitlines()

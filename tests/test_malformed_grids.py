"""Grid files with mistakes are refused with one message, before anything is started or written."""

from pathlib import Path

import pytest
import yaml
from malformed_case import Case
from malformed_grids import all_imported, check_right, draw_cases, faults, run_case

from mtlbench.errors import MtlbenchError
from mtlbench.strict_yaml import parse_yaml


@pytest.mark.slow
def test_malformed_grids_are_refused(tmp_path: Path) -> None:
    """Every third of those that the benchmark runs: of all kinds some."""
    wrong = []
    with all_imported():
        check_right(tmp_path / "right")
        for number, (kind, case) in enumerate(draw_cases(200, seed=0)[::3]):
            outcome = run_case(case, tmp_path / str(number))
            found = faults(case, outcome)
            wrong += [f"{kind}, {case.about}: {fault}\n{outcome.text[-500:]}" for fault in found]
    assert not wrong, "\n".join(wrong)


def test_what_is_wrong_with_an_answer_is_found(tmp_path: Path) -> None:
    """A right grid counts as no refusal, and what it leaves behind is seen."""
    outcome = run_case(Case("help", None, ("nowhere to be found",), ("--help",)), tmp_path / "help")
    assert faults(Case("help", None, ("nowhere to be found",)), outcome) == [
        "exit code 0",
        "not one message",
        "doesn't say 'nowhere to be found'",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, 2.5, -3, null, ~, true, FALSE]",
        "{a: {b: [1, {c: 'd'}]}, 'e f': \"g\"}",
        "base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\nlist: [*b, *b]",
        "text: |\n  one\n  two\nfolded: >\n  a\n  b\nquoted: '010'",
        "a: .5\nb: 1.\nc: 1.5e+3\nd: .inf\ne: -.inf\nempty:",
    ],
)
def test_what_yaml_and_we_agree_on(text: str) -> None:
    assert parse_yaml(text, "x") == yaml.safe_load(text)


def test_where_we_differ_from_yaml() -> None:
    read = parse_yaml("a: 1e-4\nb: on\nc: no\nd: 2024-01-31\ne: 64x96", "x")
    assert read == {"a": 1e-4, "b": "on", "c": "no", "d": "2024-01-31", "e": "64x96"}


def test_a_deep_but_sensible_file_is_read() -> None:
    text = "a: " + "[" * 20 + "]" * 20
    assert parse_yaml(text, "x") == yaml.safe_load(text)
    with pytest.raises(MtlbenchError, match="nested at most"):
        parse_yaml("a: " + "[" * 40 + "]" * 40, "x")

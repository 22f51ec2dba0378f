"""docs/variants.md is what the docstrings say, and its numbers are what is measured."""

import re

import pytest
import quirks as bench

from mtlbench import variants
from mtlbench.registry import registry

ROW = re.compile(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", flags=re.MULTILINE)


def rows(name: str) -> dict[str, tuple[str, ...]]:
    section = re.search(
        rf"^## {name}\n(.*?)(?=^## |\Z)", bench.PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert section, f"docs/variants.md has no section on {name}: run benchmarks/quirks.py --write"
    return {quirk: tuple(rest) for quirk, *rest in ROW.findall(section[1])}


def test_every_quirk_is_on_the_page_in_the_docstrings_words() -> None:
    assert bench.methods()
    for name in bench.methods():
        expected = variants.quirks(registry.load("method", name))
        found = rows(name)
        assert list(found) == list(expected)
        for quirk, (text, *_) in found.items():
            assert text.replace("<br>", " ").replace("\\|", "|") == expected[quirk], quirk


def test_dead_weights_change_nothing_and_sample_mixing_shows() -> None:
    for name in bench.methods():
        mixing = registry.load("method", name).sample_mixing
        for quirk, (_, change, others, parameters) in rows(name).items():
            assert (others != "0") == (quirk in mixing), f"{name}.{quirk}: {others} through other images"
            if quirk.startswith("unused_"):
                assert (change, parameters[0]) == ("0", "+"), f"{name}.{quirk}"
            else:  # what refuses images of other sizes changes nothing for images of its own
                assert (change == "0") == (quirk == "fixed_size"), f"{name}.{quirk}"


@pytest.mark.parametrize("name", ["demt"])
def test_numbers_are_those_of_today(name: str) -> None:
    for effect in bench.measure(name):
        _, change, others, _ = rows(name)[effect.quirk]
        for shown, measured in ((change, effect.change), (others, effect.others)):
            number = float(shown.strip("< %"))
            if shown.startswith("<"):
                assert 0 < 100 * measured < number
            else:
                assert number == pytest.approx(100 * measured, rel=0.02, abs=0.1)

"""The examples of docs/tunings.md work, and its numbers are those of the code."""

from __future__ import annotations

import re
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from test_docs import blocks

from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import tiny_tasks
from mtlbench.testing.tunings import TinyHeads

PAGE = Path(__file__).parents[2] / "docs" / "tunings.md"


def test_the_example_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in blocks(PAGE, "python"):
        first, rest = block.split("\n", 1)
        (tmp_path / first.removeprefix("# ")).write_text(rest)
    found: dict[str, object] = {}
    exec((tmp_path / "test_last_stage.py").read_text(), found)
    found["test_last_stage"]()  # type: ignore[operator]
    del sys.modules["last_stage"]


@pytest.mark.parametrize(("backbone", "column"), [("swin-t", 1), ("hrnet18", 3)])
def test_the_numbers_of_the_table(backbone: str, column: int) -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    printed = {name: rest.split("|")[column].strip() for name, rest in rows}
    assert printed.keys() == {p.name for p in registry.plugins("tuning") if p.origin.startswith("mtlbench ")}
    with torch.device("meta"):
        untuned = TinyHeads(registry.load("backbone", backbone)(), tiny_tasks())
    for name, number in printed.items():
        with torch.device("meta"):
            try:
                tuned = registry.load("tuning", name)().apply(deepcopy(untuned))
            except MtlbenchError:
                assert number == "refused"
                continue
        assert f"{sum(p.numel() for p in tuned.backbone.parameters() if p.requires_grad):,}" == number

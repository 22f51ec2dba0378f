"""Table I of the DeGMix paper: the ready grid's counts are the printed ones where known code gives them."""

from functools import cache

import pytest

from mtlbench.config import find_grid, load_grid
from mtlbench.image_size import input_size
from mtlbench.plan import expand
from mtlbench.profiling.lines import COUNTED, Line, count_line, different_networks
from mtlbench.published_numbers import read_published
from mtlbench.registry import Registry
from mtlbench.spec import Cell

SINGLE, SHARED, OURS = "single task baseline", "multi-task baseline", "DeGMix (paper)"
PARAMETERS, MACS = 0.1, 1.0
"""Largest difference to the printed number, percent."""
ROWS = [
    (SHARED, "HRNet18", True, True),
    ("ATRC", "HRNet18", True, False),
    (SHARED, "Swin-T", True, True),
    ("DeMT", "Swin-T", True, True),
    (OURS, "Swin-T", False, True),
]
SLOW_ROWS = [
    (SINGLE, "HRNet18", True, True),
    ("Pad-Net", "HRNet18", True, True),
    ("PAP", "HRNet18", True, True),
    ("PSD", "HRNet18", False, False),
    ("DeMT", "HRNet18", True, False),
    ("DeMT", "Swin-S", False, True),
    (OURS, "Swin-S", False, True),
    (SHARED, "Swin-L", True, True),
    ("InvPT", "ViT-L", False, True),
    ("InvPT++", "ViT-L", True, False),
    ("TaskPrompter", "ViT-L", True, True),
]
"""Model, backbone, whether known code gives the printed parameters, whether it gives the FLOPs."""


@cache
def networks(grid: str) -> dict[tuple[str, str], tuple[dict[str, str], list[Cell]]]:
    registry = Registry()
    rows = expand(load_grid(find_grid(grid), registry), registry).rows
    return {(n["method"], n["backbone"]): (n, cells) for n, cells in different_networks(rows, COUNTED)}


def line(model: str, backbone: str, grid: str = "nyud_table1") -> Line:
    labels, cells = networks(grid)[model, backbone]
    return count_line(labels, cells, input_size(cells[0].dataset), read_published("degmix_table1_nyud"))


@pytest.mark.parametrize(
    ("model", "backbone", "parameters", "macs"),
    [*ROWS, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW_ROWS)],
)
def test_a_row(model: str, backbone: str, parameters: bool, macs: bool) -> None:
    found = line(model, backbone)
    assert found.parameters_off is not None
    assert found.macs_off is not None
    assert (abs(found.parameters_off) <= PARAMETERS) == parameters
    assert (abs(found.macs_off) <= MACS) == macs


@pytest.mark.slow
def test_mtformer_has_two_tasks() -> None:
    found = line("MTFormer", "Swin", "nyud_table1_two_tasks")
    assert found.parameters_off == pytest.approx(0, abs=PARAMETERS)


def test_two_tasks() -> None:
    found = line("DeGMix (2-task) (paper)", "Swin-S", "nyud_table1_two_tasks")
    assert found.counts.parameters == pytest.approx(52.16e6, rel=1e-3)
    assert found.counts.module_macs == pytest.approx(96.73e9, rel=1e-2)

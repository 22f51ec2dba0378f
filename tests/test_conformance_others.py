from pathlib import Path

import pytest
from mtlbench.methods.multi_task import MultiTask
from results_factory import make_protocols, make_results

from mtlbench.registry import registry
from mtlbench.testing import check_backbone, check_report, check_tuning


@pytest.mark.parametrize("name", ["resnet18", "hrnet18", "swin-t", "efficientnet-lite0"])
def test_backbones(name: str) -> None:
    check_backbone(registry.load("backbone", name))


ELSEWHERE = ("adapter", "ditask", "mtlora", "vera", "vpt_deep", "vpt_shallow")
"""Tunings that need the blocks of certain backbones, or options with which all moves in the few steps of a
check: tests/tunings has them.
"""


@pytest.mark.parametrize("name", [name for name in registry.names("tuning") if name not in ELSEWHERE])
def test_tunings(name: str) -> None:
    check_tuning(registry.load("tuning", name), MultiTask)


@pytest.mark.parametrize("name", registry.names("report"))
def test_reports(name: str, tmp_path: Path) -> None:
    results = make_protocols() if name == "protocols" else make_results()
    check_report(registry.load("report", name), results, tmp_path)


def test_a_report_that_names_a_file_it_did_not_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_report(lambda results, folder: [folder / "gone.md"], make_results(), tmp_path)

"""Every network against the published code, on all golden cases that there are."""

import re

import pytest
import torch
from golden_cases import ROOT, Case, cases, compare
from golden_methods import load, module_of, run

LARGE_FIRST = sorted(cases(), key=lambda case: -case.values[0].spec["parameters"])
SMALLEST_OF_EACH = {case.values[0].spec["method"]: case for case in LARGE_FIRST}.values()


@pytest.mark.parametrize("case", cases())
def test_golden(case: Case) -> None:
    compare(case, run(case, load(case)))


@pytest.mark.parametrize("case", SMALLEST_OF_EACH)
def test_golden_notices_a_changed_weight(case: Case) -> None:
    network = load(case)
    pattern = module_of(case).SENSITIVE
    sensitive = next(p for name, p in network.named_parameters() if re.match(pattern, name))
    with torch.no_grad():
        sensitive.flatten()[:3] += 3.0
    with pytest.raises(AssertionError, match=r"[\w.]+: [\d.]+"):
        compare(case, run(case, network))


def test_golden_folder_holds_cases() -> None:
    assert cases(), f"no golden cases of networks in {ROOT}: is MTLBENCH_GOLDEN right?"

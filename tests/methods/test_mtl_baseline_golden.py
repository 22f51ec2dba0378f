"""The multi-task and single-task baselines against the published code."""

import pytest
from golden_cases import Case, cases, compare
from golden_methods import load, run
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask

from mtlbench.model import Method


def build(case: Case) -> Method:
    method = SingleTask if len(case.spec["tasks"]) == 1 else MultiTask
    return method(case.backbone(), case.tasks(), head_channels=case.spec["options"].get("out_channels"))


@pytest.mark.parametrize("case", cases("mtl_baseline"))
def test_mtl_baseline_golden(case: Case) -> None:
    assert case.kind in ("head", "model")
    compare(case, run(case, load(case, build(case))))


@pytest.mark.parametrize("case", cases("mtl_baseline"))
def test_mtl_baseline_golden_notices_a_changed_weight(case: Case) -> None:
    method = load(case, build(case))
    method.get_parameter(f"bottleneck.{case.spec['tasks'][0]}.bn.weight").data[0] += 0.1
    with pytest.raises(AssertionError, match=r"final\.\w+: "):
        compare(case, run(case, method))

"""Conformance suites: what any plugin must do, in five lines of a test file.

import pytest
from mtlbench.testing import METHOD_CHECKS

@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_my_net(check):
check(MyNet, depth=2)
"""

from mtlbench.testing.balancers import BALANCER_CHECKS, balancer_tasks, check_balancer
from mtlbench.testing.datasets import DATASET_CHECKS, check_dataset
from mtlbench.testing.methods import METHOD_CHECKS, TinyBackbone, check_method, tiny_tasks
from mtlbench.testing.others import check_backbone, check_report
from mtlbench.testing.tunings import TUNING_CHECKS, check_tuning

__all__ = [
    "BALANCER_CHECKS",
    "DATASET_CHECKS",
    "METHOD_CHECKS",
    "TUNING_CHECKS",
    "TinyBackbone",
    "balancer_tasks",
    "check_backbone",
    "check_balancer",
    "check_dataset",
    "check_method",
    "check_report",
    "check_tuning",
    "tiny_tasks",
]

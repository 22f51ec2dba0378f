"""The multi-task and single-task baselines with fully convolutional heads."""

from golden_cases import Case
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask

SENSITIVE = ""  # the first parameter


def build(case: Case) -> MultiTask:
    method = SingleTask if len(case.spec["tasks"]) == 1 else MultiTask
    width = case.shapes[f"bottleneck.{case.spec['tasks'][0]}.conv.weight"][0]
    return method(case.backbone(), case.tasks(), head_channels=width)

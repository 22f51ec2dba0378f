"""Run a method on a golden case."""

import torch
from golden_cases import Case, load_filled, parameters
from torch import Tensor

from mtlbench.method_weights import published_to_ours
from mtlbench.model import Method

DEAD = r"\.(offset|relative_position_index)$"


def load(case: Case, method: Method) -> Method:
    """The method with the case's parameters, in evaluation mode; checks how many it has."""
    assert parameters(method) == case.spec["parameters"]
    load_filled(case, method, lambda state: published_to_ours(method, state), dead=DEAD)
    return method.eval()


@torch.no_grad()
def run(case: Case, method: Method) -> dict[str, Tensor]:
    """All outputs under the case's names."""
    inputs = case.inputs()
    outputs = (
        method(inputs[0]) if case.kind == "model" else method.decode(inputs, tuple(case.spec["output_size"]))
    )
    named = {f"final.{task}": value for task, value in outputs.final.items()}
    for endpoint, values in outputs.auxiliary.items():
        named |= {f"{endpoint}.{task}": value for task, value in values.items()}
    return named

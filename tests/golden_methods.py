"""Run a network of any method on a golden case.

`tests/golden_networks` has a module for each published method, called like the cases' field `method`:

* `build(case)`: the network, from nothing but the case's files;
* `SENSITIVE`: the first parameter of ours whose name this pattern matches decides the outputs;
* `DEAD` (optional): published entries that may vanish, a pattern;
* `outputs(case, network)` (optional): all outputs under the case's names.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from golden_cases import Case, load_filled, parameters
from torch import Tensor, nn

from mtlbench.method_weights import published_to_ours
from mtlbench.model import Method

DEAD = r"\.(offset|relative_position_index)$"


def module_of(case: Case) -> ModuleType:
    """What knows the case's method."""
    name = f"golden_networks.{case.spec['method']}"
    assert find_spec(name), f"{case.path.stem} is of `{case.spec['method']}`, which nothing here can build"
    return import_module(name)


def load(case: Case) -> nn.Module:
    """The network with the case's parameters, in evaluation mode; checks how many it has."""
    known = module_of(case)
    network: nn.Module = known.build(case)
    assert parameters(network) == case.spec["parameters"]

    def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return known.rename(network, state) if hasattr(known, "rename") else published_to_ours(network, state)

    load_filled(case, network, rename, dead=getattr(known, "DEAD", DEAD))
    return network.eval()


@torch.no_grad()
def run(case: Case, network: nn.Module) -> dict[str, Tensor]:
    """All outputs under the case's names."""
    known = module_of(case)
    if hasattr(known, "outputs"):
        found: dict[str, Tensor] = known.outputs(case, network)
        return found
    assert isinstance(network, Method)
    inputs = case.inputs()
    outputs = (
        network(inputs[0])
        if case.kind == "model"
        else network.decode(inputs, tuple(case.spec["output_size"]))
    )
    named = {f"final.{task}": value for task, value in outputs.final.items()}
    for endpoint, values in outputs.auxiliary.items():
        named |= {f"{endpoint}.{task}": value for task, value in values.items()}
    return named

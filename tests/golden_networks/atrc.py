"""ATRC with published genotypes, and its search stage."""

from dataclasses import replace

import torch
from golden_cases import Case
from mtlbench.methods.atrc.atrc import ATRC
from mtlbench.methods.atrc.search import ATRCSearch
from torch import Tensor

from mtlbench import tasks as make
from mtlbench.model import Method
from mtlbench.tasks import Task

SENSITIVE = ""
HEADS = {
    "GlobalRelationalContextHead": "global",
    "LocalRelationalContextHead": "local",
    "TLabelRelationalContextHead": "t-label",
    "SLabelRelationalContextHead": "s-label",
}
FACTORIES = {
    "semseg": lambda: make.semseg([]),
    "human_parts": lambda: make.human_parts([]),
    "sal": make.sal,
    "edge": make.edge,
    "depth": make.depth,
    "normals": make.normals,
}


def tasks(case: Case) -> dict[str, Task]:
    """With label types: these decide what an auxiliary prediction looks like."""
    return {
        name: replace(FACTORIES[name](), channels=case.spec["channels"][name]) for name in case.spec["tasks"]
    }


def build(case: Case) -> Method:
    genotype = case.spec["options"]["genotype"]
    if genotype == "AdaptiveTaskRelationalContextSearchHead":
        return ATRCSearch(case.backbone(), tasks(case), variant="published")
    genotype = HEADS[genotype] if isinstance(genotype, str) else genotype.get("data", genotype)
    return ATRC(case.backbone(), tasks(case), variant="published", genotype=genotype)


@torch.no_grad()
def outputs(case: Case, network: Method) -> dict[str, Tensor]:
    """The published head resizes its auxiliary predictions too."""
    inputs, size = case.inputs(), case.spec.get("output_size")
    found = network(inputs[0]) if case.kind == "model" else network.decode(inputs, tuple(size))
    size = next(iter(found.final.values())).shape[-2:]
    auxiliary = {
        f"aux.{t}": torch.nn.functional.interpolate(x, size, mode="bilinear")
        for t, x in found.auxiliary.get("aux", {}).items()
    }
    return {f"final.{t}": x for t, x in found.final.items()} | auxiliary

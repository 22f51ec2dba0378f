"""NDDR-CNN: whole networks, with the features after every unit."""

from golden_cases import Case
from mtlbench.methods.nddr_cnn import NDDRCNN

from golden_networks.cross_stitch import options, outputs

__all__ = ["build", "outputs"]
SENSITIVE = r"nddr\.stage4\."


def build(case: Case) -> NDDRCNN:
    return NDDRCNN(case.backbone(), case.tasks(), **options(case))

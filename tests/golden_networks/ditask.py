"""Networks tuned by DITASK: the Swin and the decoder of MTLoRA."""

from golden_cases import Case
from mtlbench.tunings.ditask import DiTASK

from golden_networks.mtlora import DEAD, outputs, ranks, untuned
from mtlbench.model import Method

__all__ = ["DEAD", "build", "outputs"]


def build(case: Case) -> Method:
    options = case.spec["options"]["model"]["DITASK"]
    tuning = DiTASK(
        cells=ranks(options, "shared"),
        task_cells={task: ranks(options, task) for task in case.spec["tasks"]},
        deformed_merging=options["DOWNSAMPLER_ENABLED"],
        variant="published",
    )
    return tuning.apply(untuned(case))

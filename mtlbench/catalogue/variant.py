"""What the catalogue says of one metric variant."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "percent", "degrees", "label", "relative", "log", "loss"]

RANGES: dict[Unit, str] = {
    "share": "0 to 1",
    "percent": "0 to 100",
    "degrees": "0 to 180 degrees",
    "label": ">= 0, in the label's unit",
    "relative": ">= 0, relative to the true depth",
    "log": ">= 0, in ln of the label's unit",
    "loss": ">= 0",
}
MTI, ATRC, INVPT = "MTI-Net", "ATRC, DeMT, DeGMix", "InvPT, TaskPrompter, MTMamba"
MTLORA, MTAN, LIBMTL, OURS = "MTLoRA, DiTASK", "mtan, nash-mtl", "LibMTL", "defined here"
MTI_ONLINE, MTI_FILES = "MTI-Net (during training)", "MTI-Net (final numbers)"
MTAN_LEGACY = "mtan before November 2020"


@dataclass(frozen=True)
class Variant:
    """One way to compute a number that papers print.

    Attributes:
        name: as in results, `miou.dataset.absent0`.
        tasks: whose metrics give it.
        summary: one line.
        unit: of its values; `range` says it in words.
        higher_is_better: its direction.
        column: short heading in tables.
        published_by: the code bases that compute it.
        scale: what values are multiplied with in tables (100 shows a share as a percentage).
    """

    name: str
    tasks: tuple[str, ...]
    summary: str
    unit: Unit
    higher_is_better: bool
    column: str
    published_by: str
    scale: float = 1.0

    @property
    def range(self) -> str:
        return RANGES[self.unit]


def region(
    name: str, summary: str, published_by: str, *, tasks: tuple[str, ...] = ("semseg",), column: str = "mIoU"
) -> Variant:
    """A share of pixels or regions, shown as a percentage."""
    return Variant(name, tasks, summary, "share", True, column, published_by, 100.0)

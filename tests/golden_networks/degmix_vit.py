"""DeGMix with a plain ViT, as released."""

from typing import ClassVar

from golden_cases import Case, Widths
from mtlbench.methods.degmix.degmix import DeGMix

from golden_networks import degmix

SENSITIVE = degmix.SENSITIVE


class PlainWidths(Widths):
    """A ViT that has widths and nothing else."""

    strides: ClassVar = (16, 16, 16, 16)


class PlainCase(Case):
    """The same case with that for a backbone, where it has none."""

    def backbone(self) -> Widths:
        found = super().backbone()
        return PlainWidths(found.channels) if self.kind == "head" else found


def build(case: Case) -> DeGMix:
    return degmix.build(PlainCase(case.path))

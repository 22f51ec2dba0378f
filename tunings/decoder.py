"""The decoder alone."""

from mtlbench.model import Method
from mtlbench.tuning import BackboneMode, Tuning, freeze_backbone


class Decoder(Tuning):
    """Decoder only: the backbone keeps its weights, all else trains.

    Args:
        backbone_mode: `train` as published (MTLoRA's baseline, DeGMix-Tuning): the frozen backbone still
            drops paths at random, and its batch normalisation goes on with new statistics.
    """

    def __init__(self, *, backbone_mode: BackboneMode = "eval") -> None:
        self.backbone_mode = backbone_mode

    def apply(self, network: Method) -> Method:
        freeze_backbone(network, self.backbone_mode)
        return network

"""DeGMix-Tuning (of the DeGMix paper, after the description in its released code)."""

from __future__ import annotations

from mtlbench.tuning import BackboneMode

from .decoder import Decoder


class DeGMixTuning(Decoder):
    """DeGMix-Tuning: the backbone keeps its weights, all else trains; meant for the method `degmix`.

    The same as `decoder`, but that the frozen backbone stays in training mode, as published. The released
    code has no such run, only the rule; its head trains 11.6 million parameters on Swin-T where the paper's
    table says 2.2 for the whole network.

    Args:
        backbone_mode: `train` as published: the frozen backbone still drops paths at random, and its batch
            normalisation goes on with new statistics.
    """

    def __init__(self, *, backbone_mode: BackboneMode = "train") -> None:
        super().__init__(backbone_mode=backbone_mode)

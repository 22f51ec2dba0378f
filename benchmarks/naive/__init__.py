"""The published computation of our networks, written plainly: what a user has who takes it as published.

A form here takes one of our networks (variant `published`) and computes the same numbers with the network's
own parameters, in the order of the published code and in its operators: all levels are resized and
concatenated before anything reads them, tasks and pairs of tasks take turns, attention matrices are made.
"""

from naive.atrc import NaiveATRC
from naive.degmix import NaiveDeGMix
from naive.demt import NaiveDeMT
from naive.invpt import NaiveInvPT
from naive.joined import NaiveCrossStitch, NaiveNDDRCNN
from naive.mqtransformer import NaiveMQTransformer
from naive.mtan import NaiveMTAN, NaiveMTANSegNet, NaiveSegNet
from naive.mtformer import NaiveMTFormer
from naive.mti_net import NaiveMTINet
from naive.mtmamba import NaiveMTMamba, NaiveMTMambaPlus
from naive.mult import NaiveMulT
from naive.multi_task import NaiveMultiTask
from naive.pad_net import NaivePadNet
from naive.pap import NaivePAP
from naive.psd import NaivePSD
from naive.shared import NaiveForm
from naive.taskprompter import NaiveTaskPrompter

NAIVE: dict[str, type[NaiveForm]] = {
    "multi_task": NaiveMultiTask,
    "pad_net": NaivePadNet,
    "mti_net": NaiveMTINet,
    "atrc": NaiveATRC,
    "mqtransformer": NaiveMQTransformer,
    "demt": NaiveDeMT,
    "degmix": NaiveDeGMix,
    "invpt": NaiveInvPT,
    "cross_stitch": NaiveCrossStitch,
    "nddr_cnn": NaiveNDDRCNN,
    "mtan": NaiveMTAN,
    "mtan_segnet": NaiveMTANSegNet,
    "segnet": NaiveSegNet,
    "mtmamba": NaiveMTMamba,
    "mtmamba_plus": NaiveMTMambaPlus,
    "mtformer": NaiveMTFormer,
    "taskprompter": NaiveTaskPrompter,
    "mult": NaiveMulT,
    "pap": NaivePAP,
    "psd": NaivePSD,
}
"""Method -> its naive form."""

__all__ = ["NAIVE", "NaiveForm"]

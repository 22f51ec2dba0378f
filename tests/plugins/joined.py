"""Networks that are put together of trained ones and can be told to fail; a backbone of several stages."""

import os
import signal
from pathlib import Path

from mtlbench.methods.cross_stitch import CrossStitch
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.model import Outputs
from mtlbench.tasks import Tasks
from mtlbench.testing import TinyBackbone


def staged(*, weights: str = "none") -> TinyBackbone:
    """One convolution for each map."""
    return TinyBackbone()


class Stitched(CrossStitch):
    """Cross-stitch networks.

    Args:
        kill_at: the forward pass in training at which its process is killed.
        flag: that comes only while this file does not exist, and makes it.
    """

    def __init__(self, backbone: Backbone, tasks: Tasks, *, kill_at: int = 0, flag: str = "") -> None:
        super().__init__(backbone, tasks)
        self.kill_at, self.flag, self.passes = kill_at, flag, 0

    def forward(self, images: Tensor) -> Outputs:
        self.passes += self.training
        if self.training and self.passes == self.kill_at and not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


plugins = {"backbone": {"staged": staged}, "method": {"stitched": Stitched}}

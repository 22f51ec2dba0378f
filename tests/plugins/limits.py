"""A method that passes limits on demand, with processes that it leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks


class Excessive(Method):
    """A linear head.

    Args:
        what: `stuck`: a step never ends; `large`: a step takes 1 GB, and stays; `long`: steps take 50 ms.
        child: file that gets the id of a process that is started along, and would stay for long.
        note: file that gets a line with what the cell was given to run on, and its process.
    """

    def __init__(
        self, backbone: Backbone, tasks: Tasks, *, what: str = "", child: str = "", note: str = ""
    ) -> None:
        super().__init__(backbone, tasks)
        self.heads = nn.ModuleDict({name: nn.Conv2d(8, task.channels, 1) for name, task in tasks.items()})
        self.what, self.child = what, child
        self.held: Any = None
        if note:
            with Path(note).open("a") as file:
                given = f"{os.environ['CUDA_VISIBLE_DEVICES']} {torch.get_num_threads()}"
                file.write(f"{given} {os.environ['OMP_NUM_THREADS']} {os.getpid()}\n")

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        if self.training:
            self._exceed()
        maps = {t: head(features[0]) for t, head in self.heads.items()}
        return Outputs({t: nn.functional.interpolate(x, size, mode="bilinear") for t, x in maps.items()})

    def _exceed(self) -> None:
        if self.child and not Path(self.child).exists():
            command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
            Path(self.child).write_text(str(subprocess.Popen(command).pid))
        if self.what == "large":
            self.held = bytearray(os.urandom(1)) * 1_000_000_000
        if self.what in ("large", "stuck"):
            time.sleep(600)
        if self.what == "long":
            time.sleep(0.05)


plugins = {"method": {"excessive": Excessive}}

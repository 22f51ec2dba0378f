"""The multi-task baseline with `fcn` heads, as in ATRC's code."""

from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated


class NaiveMultiTask(NaiveForm):
    """Every task's convolution reads the concatenation of all levels."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = concatenated(features)
        return Outputs({task: self.predict(task, x, size) for task in self.network.tasks})

"""Dropout whose mask is cheap on a CPU: a step with MTLoRA or DITASK draws one for every layer's input."""

import torch
from torch import Tensor, nn

LEVELS = 2**16
INT64 = torch.iinfo(torch.int64)


class Dropout(nn.Dropout):
    """As `nn.Dropout`; on a CPU four values share one random number, so that `p` has 16 bits.

    torch draws a number of a Bernoulli distribution for each value there, which takes longer than a norm.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...)."""
        level = round(self.p * LEVELS)
        if not self.training or x.device.type != "cpu" or level in (0, LEVELS):
            return super().forward(x)
        drawn = torch.randint(INT64.min, INT64.max, (-(-x.numel() // 4),)).view(torch.int16)
        kept = drawn[: x.numel()].view(x.shape) >= level - LEVELS // 2
        return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - level))

"""Multi-modal distillation: a task's features take in gated messages from those of the other tasks.

After module C of PAD-Net (Xu et al., CVPR 2018), with f_t the features of task t, sigma the logistic function
and * a convolution:

    o_t = f_t + sum over a != t of  G  W_{t<-a} * f_a        elementwise products

    gate of the source (released code):  G = sigma(V_{t<-a} * f_a), one for every ordered pair
    gate of the target (the paper):      G = sigma(V_t * f_t), shared by all sources of t

The convolutions that read the same f_a stay apart: as one operation those of one pair are no faster, and
with those of several targets the gradient of each target would take the work of all.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .batch_norm import BatchNorm2d


class Distillation(nn.ModuleDict):
    """Target -> what it takes in."""

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Source -> (B, C, H, W) to target -> (B, C, H, W)."""
        return {target: distil(features) for target, distil in self.items()}


class SourceGated(nn.Module):
    """Messages to one target whose gates are computed from their sources.

    Args:
        target: a task.
        sources: the tasks that send messages; not the target itself, if it is among them.
        channels: of every task's features.
    """

    def __init__(self, target: str, sources: Iterable[str], channels: int) -> None:
        super().__init__()
        self.target = target
        self.messages = nn.ModuleDict({a: GatedMessage(channels) for a in sources if a != target})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Task -> (B, C, H, W) to (B, C, H, W)."""
        messages = (message(features[a]) for a, message in self.messages.items())
        return sum(messages, start=features[self.target])


class GatedMessage(nn.Module):
    """sigma(V * x) W * x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = _convolution(channels, 3)
        self.message = _convolution(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gated: Tensor = self.gate(x).sigmoid() * self.message(x)
        return gated


class TargetGated(nn.Module):
    """Messages to one target that pass a gate computed from the target.

    Args:
        target: a task.
        sources: the tasks that send messages; not the target itself, if it is among them.
        channels: of every task's features.
        gate_kernel: size of the gate's kernel.
        norm: give each message a batch norm.
    """

    def __init__(
        self, target: str, sources: Iterable[str], channels: int, *, gate_kernel: int = 3, norm: bool = False
    ) -> None:
        super().__init__()
        self.target = target
        self.messages = nn.ModuleDict({a: _message(channels, norm) for a in sources if a != target})
        self.gate = _convolution(channels, gate_kernel) if self.messages else None

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Task -> (B, C, H, W) to (B, C, H, W)."""
        x = features[self.target]
        if self.gate is None:
            return x
        first, *others = (message(features[a]) for a, message in self.messages.items())
        return x + self.gate(x).sigmoid() * sum(others, start=first)


def _message(channels: int, norm: bool) -> nn.Sequential:
    layers = [_convolution(channels, 3), *([BatchNorm2d(channels)] if norm else [])]
    return nn.Sequential(*layers)


def _convolution(channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)

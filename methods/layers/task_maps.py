"""What stands before and after blocks on all tasks' maps: one map a task at stride 8, and predictions."""

from collections.abc import Sequence

from torch import Tensor, nn

from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .conv import ConvBNReLU


class TaskMaps(nn.ModuleDict):
    """Each task's map of the backbone's, at the size of the second (stride 8; of a plain ViT 16)."""

    def __init__(self, channels: int, tasks: Tasks, dim: int, *, refine: bool = False) -> None:
        super().__init__({t: TaskMap(channels, dim, refine=refine) for t in tasks})

    def forward(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Maps (B, C_i, h_i, w_i) -> task -> (B, h_1, w_1, D), channels last."""
        size = (features[1].shape[-2], features[1].shape[-1])
        return {t: make(features, size).movedim(1, -1) for t, make in self.items()}


class TaskMap(nn.Module):
    """Pointwise convolution of all maps at one size, then, if asked for, a 3x3 one."""

    def __init__(self, channels: int, dim: int, *, refine: bool) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(channels, dim, 1)
        self.refine = ConvBNReLU(dim, dim, 3) if refine else nn.Identity()

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (B, C_i, h_i, w_i) -> (B, D, *size)."""
        refined: Tensor = self.refine(self.reduce(features, size))
        return refined


class Predictions(nn.ModuleDict):
    """A 3x3 convolution, batch norm and ReLU, then the logits, for each task."""

    def __init__(self, dim: int, tasks: Tasks) -> None:
        super().__init__({t: _head(dim, task.channels) for t, task in tasks.items()})

    def forward(self, maps: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """Task -> (B, h, w, D) -> task -> (B, K_t, *size)."""
        return {t: resize(head(maps[t].movedim(-1, 1).contiguous()), size) for t, head in self.items()}


def _head(dim: int, channels: int) -> nn.Sequential:
    logits = nn.Conv2d(dim, channels, 1)
    nn.init.normal_(logits.weight, std=0.01)
    assert logits.bias is not None
    nn.init.zeros_(logits.bias)
    return nn.Sequential(ConvBNReLU(dim, dim, 3), logits)

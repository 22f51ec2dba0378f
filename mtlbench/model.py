"""What every architecture promises."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.published import Rule
from mtlbench.tasks import Tasks


@dataclass
class Outputs:
    """Predictions of a network, raw (no activation), at image size.

    Attributes:
        final: task -> (B, C, H, W).
        auxiliary: endpoint -> task -> (B, C, h, w): deep supervision, trained with the task's own loss; not
            evaluated.
    """

    final: dict[str, Tensor]
    auxiliary: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class Method(nn.Module):
    """An architecture: a backbone and what makes predictions for all tasks of its features.

    A subclass's options are the keyword-only arguments of its constructor; it implements `decode`.
    """

    needs_backbone: ClassVar[bool] = True
    """False: no backbone is built, and the constructor gets None."""

    one_task: ClassVar[bool] = False
    """True: one network per task; a grid row of it becomes one cell per task."""

    published_keys: tuple[Rule, ...] = ()
    """How the state-dict keys of the published code become ours (`mtlbench.published`)."""

    def __init__(self, backbone: Backbone, tasks: Tasks) -> None:
        super().__init__()
        self.backbone = backbone
        self.tasks = dict(tasks)

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """Why it can't run on these tasks with this backbone, or None; asked before anything is built."""
        return None

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        height, width = images.shape[-2:]
        return self.decode(self.backbone(images), (height, width))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Four feature maps, fine to coarse, (B, C_i, h_i, w_i) -> predictions at `size` = (H, W)."""
        raise NotImplementedError

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, 3, H, W) -> what `forward` takes."""
        return self.backbone.normalise(images) if self.needs_backbone else images.float()

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The parameters that start from the backbone's weights."""
        return list(self.backbone.parameters()) if self.needs_backbone else []

    def fit_constants(self, labels: Iterable[dict[str, Tensor]]) -> None:
        """Called once before training with batches of training labels, to set what is not trained."""

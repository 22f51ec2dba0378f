"""PSD: local patterns of each task, diffused within the task and handed over between tasks.

Paper: Zhou et al., "Pattern-Structure Diffusion for Multi-Task Learning", CVPR 2020. Our reading of the
paper: no code was released, and not all equations are the authors'. At the size of the finest map, with p x p
the window around a position:

    f_t = ConvBNReLU_t([F_1; up(F_2); up(F_3); up(F_4)])
    y'_t = up(logits'_t(f_t))                                   initial prediction
    q_t = conv1x1_t(f_t)
    a_t(i, .) = softmax over j of <q_t(i), q_t(j)> / sqrt(C)    pattern; j in the window around i
    h_t^0 = f_t,  h_t^{k+1}(i) = sum over j of a_t(i, j) h_t^k(j)           within the task, K times
    b_t = normalise(sum over s != t of cos(a_t, a_s) a_s)       each position's, by how well patterns match
    g_t(i) = sum over j of b_t(i, j) f_t(j)                     between the tasks
    y_t = up(logits_t(f_t + u_t conv1x1(h_t^K) + v_t conv1x1(g_t)))         u_t = v_t = 0 at the start

K steps reach K times as far as one. One task alone has nothing between tasks. With HRNet18 and the four tasks
of NYUD-v2 there are 4.57 M parameters; the row in Table I of the DeGMix paper, whose code was not published,
has 4.71 M.
"""

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.checks import check_numbers
from .layers.conv import ConvBNReLU, initialise_logits
from .layers.patterns import gather, patterns, transferred


class PSD(Method):
    """PSD: local patterns diffused within and between tasks. Our reading of the paper.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        channels: of each task's features; null: a quarter of the backbone's.
        window: side of the window of a pattern, odd.
        steps: K, how often features are diffused within a task.
    """

    paper = "Zhou et al., CVPR 2020"
    code = "our reading of the paper, no code is public"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        channels: int | None = None,
        window: int = 5,
        steps: int = 2,
    ) -> None:
        super().__init__(backbone, tasks)
        features = sum(backbone.channels)
        c = max(features // 4, 1) if channels is None else channels
        check_numbers("psd", channels=c, window=window, steps=steps)
        if window < 3 or window % 2 == 0:
            raise MtlbenchError(f"`window` of psd must be odd, at least 3, got {window}")
        self.window, self.steps = window, steps
        self.initial = nn.ModuleDict({t: ConvBNReLU(features, c, 3) for t in tasks})
        self.initial_logits = self._logits(c)
        self.query = nn.ModuleDict({t: nn.Conv2d(c, c, 1, bias=False) for t in tasks})
        self.within = nn.ModuleDict({t: Scaled(c) for t in tasks})
        self.between = nn.ModuleDict({t: Scaled(c) for t in tasks if len(tasks) > 1})
        self.final_logits = self._logits(c)
        initialise_logits(self)

    def _logits(self, channels: int) -> nn.ModuleDict:
        return nn.ModuleDict({t: nn.Conv2d(channels, task.channels, 1) for t, task in self.tasks.items()})

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_t, h_0, w_0)."""
        found = {t: self.initial[t](features) for t in self.tasks}  # f_t
        initial = {t: self.initial_logits[t](f) for t, f in found.items()}  # y'_t
        local = {t: patterns(self.query[t](f), self.window) for t, f in found.items()}  # a_t
        diffused = {t: f + self._diffuse(t, f, local) for t, f in found.items()}
        final = {t: resize(self.final_logits[t](x), size) for t, x in diffused.items()}
        return Outputs(final, {"initial": initial})

    def _diffuse(self, task: str, f: Tensor, local: dict[str, Tensor]) -> Tensor:
        """f_t (B, C, h, w) and all tasks' patterns (B, p^2, h, w) -> what is added to it, (B, C, h, w)."""
        h = f
        for _ in range(self.steps):
            h = gather(local[task], h, self.window)
        added: Tensor = self.within[task](h)
        if task in self.between:
            added = added + self.between[task](gather(transferred(task, local), f, self.window))
        return added


class Scaled(nn.Module):
    """A pointwise convolution without bias, times a number that starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        scaled: Tensor = self.scale * self.conv(x)
        return scaled

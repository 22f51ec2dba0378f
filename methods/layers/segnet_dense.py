"""A SegNet for each task beside one for all, which hands its maps over at every stage.

With E, U the shared network's pooled and unpooled maps, as in `segnet`, and e, u those of a task:

    e_k = pool(stage_k([e_{k-1}; E_{k-1}]))        stage 0 sees the image
    u_k = unpool(d_{k+1}),  d_k = stage'_k([u_k; U_k])
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .segnet import convolutions, decoder_widths, encoder_widths, pool, stages_of, unpool


class Dense(nn.Module):
    """A shared SegNet, and one for each task that reads from it.

    Args:
        tasks: their names.
        widths: of the stages.
        unused: width of a last shared stage that nothing reads; None: without.
    """

    def __init__(self, tasks: Iterable[str], widths: Sequence[int], *, unused: int | None = None) -> None:
        super().__init__()
        encoder, decoder = list(encoder_widths(widths)), list(decoder_widths(widths))
        self.encoder = nn.ModuleList(_stage(a, b, b, rest=n) for a, b, n in encoder)
        self.decoder = nn.ModuleDict(
            {str(k): _stage(a, b, b, rest=n) for k, (a, b, n) in enumerate(decoder) if k}
        )
        if unused is not None:
            self.unused = convolutions(widths[0], widths[0], unused)
        self.encoders = nn.ModuleDict(
            {
                t: nn.ModuleList(
                    _stage(2 * a if k else a, b, b, rest=n) for k, (a, b, n) in enumerate(encoder)
                )
                for t in tasks
            }
        )
        # the last one narrows with its second convolution
        self.decoders = nn.ModuleDict(
            {
                t: nn.ModuleList(
                    _stage(2 * a, b if k else 2 * a, b, rest=n) for k, (a, b, n) in enumerate(decoder)
                )
                for t in tasks
            }
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W) -> task -> (B, C_0, H, W)."""
        pooled, unpooled = self._shared(x)
        return {task: self._own(task, x, pooled, unpooled) for task in self.encoders}

    def _shared(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Pooled maps, the finest first, and unpooled ones, the coarsest first."""
        pooled, indices, unpooled = [], [], []
        for stage in self.encoder:
            x, places = pool(stage(x))
            pooled.append(x)
            indices.append(places)
        for k in reversed(range(len(indices))):
            unpooled.append(unpool(x, indices[k]))
            if k:
                x = self.decoder[str(k)](unpooled[-1])
        return pooled, unpooled

    def _own(self, task: str, x: Tensor, pooled: Sequence[Tensor], unpooled: Sequence[Tensor]) -> Tensor:
        indices = []
        for k, stage in enumerate(stages_of(self.encoders, task)):
            x, places = pool(stage(torch.cat([x, pooled[k - 1]], dim=1) if k else x))
            indices.append(places)
        for stage, shared in zip(reversed(stages_of(self.decoders, task)), unpooled, strict=True):
            x = stage(torch.cat([unpool(x, indices.pop()), shared], dim=1))
        return x


def _stage(channels_in: int, hidden: int, channels_out: int, *, rest: int) -> nn.Sequential:
    """As many convolutions as one of SegNet's stages has."""
    return convolutions(channels_in, *[hidden] * rest, channels_out)

"""Several streams of tokens through one network: one that all tasks share, and one for each of them.

They stand one behind another in the batch, ((1 + T) B, ...), the shared one first. So all that treats tokens
alike (norms, activations, patch merging) needs not know of them, and stochastic depth draws for each its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from .dropout import Dropout
from .own_maps import OwnMaps

Flow = Literal["shared", "opens", "carries"]
"""Of a layer: the shared stream comes and goes; it alone comes and all go; all come and go."""


class StreamLinear(nn.Module):
    """A linear layer, frozen, that gives the shared stream and each task's another output.

    A subclass says which (`outputs`). Entries of the layer are called `linear.`, as in the published code.

    Args:
        linear: the layer in whose place this stands.
        tasks: that have streams of their own; none: only the shared one is there.
        flow: see `Flow`.
        dropout: of the shared stream's input, and of the input of tasks that have none of their own.
    """

    def __init__(self, linear: nn.Linear, tasks: Iterable[str], *, flow: Flow, dropout: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.tasks = tuple(tasks)
        self.flow: Flow = flow
        self.lora_dropout = Dropout(dropout)

    def outputs(self, x: Tensor, own: Tensor | None, *, tasks: bool) -> Tensor:
        """All streams' outputs.

        Args:
            x: (..., C), the shared stream.
            own: (T, ..., C), the tasks' streams; None: the shared one is theirs too.
            tasks: False: only the shared stream's output is asked for.

        Returns:
            (1 + T, ..., D), or (1, ..., D).
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.flow == "shared":
            return self.outputs(x, None, tasks=False)[0]
        if self.flow == "opens":
            return self.outputs(x, None, tasks=True).flatten(0, 1)
        streams = x.unflatten(0, (1 + len(self.tasks), -1))
        return self.outputs(streams[0], streams[1:], tasks=True).flatten(0, 1)


class StreamBlock(nn.Module):
    """A block of timm's ViT whose attention may open streams; its entries keep their names."""

    norm1: nn.Module
    attn: nn.Module
    ls1: nn.Module
    drop_path1: nn.Module
    norm2: nn.Module
    mlp: nn.Module
    ls2: nn.Module
    drop_path2: nn.Module
    parts: ClassVar[tuple[str, ...]] = (
        "norm1",
        "attn",
        "ls1",
        "drop_path1",
        "norm2",
        "mlp",
        "ls2",
        "drop_path2",
    )

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        for name in self.parts:
            self.add_module(name, getattr(block, name))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> ((1 + T) B, N, C)."""
        update = self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        x = (update.unflatten(0, (-1, len(x))) + x).flatten(0, 1)
        streams: Tensor = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return streams


def open_streams(block: Any) -> None:
    """Let the attention of a block of timm's Swin open streams, in place; its entries keep their names."""
    block.forward = partial(_streaming, block)


def _streaming(block: Any, x: Tensor) -> Tensor:
    """(B, H, W, C) -> ((1 + T) B, H, W, C)."""
    update = block.drop_path1(block._attn(block.norm1(x)))
    x = (update.unflatten(0, (-1, len(x))) + x).flatten(0, 1)
    streams: Tensor = x + block.drop_path2(block.mlp(block.norm2(x)))
    return streams


class TaskStreams(OwnMaps):
    """A backbone whose last block before each map opens a stream for each task: one pass, maps for each.

    Only the shared stream goes on behind a map. The trunk has such blocks, tasks are in the order of their
    streams.
    """

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        """Normalised images (B, 3, H, W) -> for each task four maps (B, C_i, h_i, w_i)."""
        count, size = len(images), (images.shape[-2], images.shape[-1])
        running = self.trunk.staged(images)
        (x,) = next(running)  # behind the stem
        own: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for i in range(len(self.channels)):
            (streams,) = running.send([x])
            x = streams[:count]
            maps = self.trunk.as_map(i, streams[count:] if len(streams) > count else x, size).split(count)
            for j, task in enumerate(self.tasks):
                own[task].append(maps[j % len(maps)])  # one for all, if this stage opens no streams
        running.close()
        return own

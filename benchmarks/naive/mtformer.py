"""MTFormer, as released, for any set of tasks."""

from typing import Any

import torch
from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, convolved, resized
from naive.windows import attend_in_windows, cut, joined, relative_bias, shift_mask, split, window_block


class NaiveMTFormer(NaiveForm):
    """Every pair of tasks is asked for itself, and its values are made for it; answers go back to the map."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        net = self.network
        x = (
            convolved(net.reduce, concatenated(features[-3:])).permute(0, 2, 3, 1).contiguous()
        )  # (B, h, w, C)
        x = staged(net.shared, x, net.window)
        own = {t: staged(branch, x, net.window) for t, branch in net.branches.items()}
        final = {}
        for task, cross in net.cross.items():
            y = crossed(cross, task, own, net.window).permute(0, 3, 1, 2).contiguous()
            final[task] = resized(net.final_logits[task](y), size)
        return Outputs(final)


def staged(stage: Any, x: Tensor, window: int) -> Tensor:
    """A Swin stage and its LayerNorm: (B, H, W, C) -> the same."""
    mask = shift_mask((x.shape[1], x.shape[2]), window, window // 2, x)
    for i, block in enumerate(stage.blocks):
        x = window_block(block, x, window, *((window // 2, mask) if i % 2 else (0, None)))
    normed: Tensor = stage.norm(x)
    return normed


def crossed(stage: Any, task: str, maps: dict[str, Tensor], window: int) -> Tensor:
    """All tasks' (B, H, W, C) -> this task's."""
    maps = dict(maps)
    x = maps[task]
    mask = shift_mask((x.shape[1], x.shape[2]), window, window // 2, x)
    for i, block in enumerate(stage.blocks):
        shift = window // 2 if i % 2 else 0
        maps[task] = cross_block(block, task, maps, window, shift, mask if shift else None)
    normed: Tensor = stage.norm(maps[task])
    return normed


def cross_block(
    block: Any, task: str, maps: dict[str, Tensor], window: int, shift: int, mask: Tensor | None
) -> Tensor:
    x = maps[task]
    size = (x.shape[1], x.shape[2])
    answers = {}
    windows = {t: cut(block.norm1(y), window, shift) for t, y in maps.items()}
    for t, (asking, padded) in windows.items():
        q, k = split(block.to_qk(asking), 2, block.heads)
        (v,) = split(block.to_v(windows[task][0]), 1, block.heads)
        bias = relative_bias(block.bias.table, window)
        y = block.proj(attend_in_windows(q, k, v, bias, mask, scale=block.scale))
        answers[t] = joined(y, window, shift, padded, size)
    parts = [block.own(answers[task]), *(block.parts[t](answers[t]) for t in block.others)]
    x = x + block.fuse(torch.cat(parts, dim=-1)) + answers[task]
    return x + block.mlp(block.norm2(x))

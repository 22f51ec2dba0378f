"""InvPT, as released; pyramid backbones by our reading of it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, map_of, resized, tokens_of

Message = list[Tensor]
"""For each task what its queries found, before the softmax: (B heads, K, h, w)."""


class NaiveInvPT(NaiveForm):
    """Maps of the tasks are taken one after the other, and become tokens and maps again for every layer."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), preliminary ones at 1/32."""
        net = self.network
        x = features[-1]
        x = resized(x, (-(-x.shape[2] // net.downsample), -(-x.shape[3] // net.downsample)))
        found = {t: net.preliminary[t](x) for t in net.tasks}
        preliminary = {t: net.preliminary_logits[t](f) for t, f in found.items()}
        maps = [net.mix[t](torch.cat([found[t], preliminary[t]], dim=1)) for t in net.tasks]
        scales, message = [], None
        for i, (stage, norm) in enumerate(zip(net.pyramid.stages, net.pyramid.norms, strict=True)):
            skip = net.skips[str(i)](features[net._source(i)]) if str(i) in net.skips else None
            maps, message = at_scale(stage, maps, skip if i else None, message)
            scales.append(normed_together(norm, maps))
        finest = (x.shape[2] * 2 ** len(scales), x.shape[3] * 2 ** len(scales))
        final = {}
        for n, t in enumerate(net.tasks):
            z = resized(scales[0][n], finest)
            for i in range(1, len(scales)):
                reduce = net.pyramid.reduce[str(i)][t]
                reduced = F.conv2d(scales[i][n], reduce.weight[:, :, None, None], reduce.bias)
                z = z + resized(reduced, finest)
            final[t] = resized(net.final_logits[t](net.project[t]([z], (z.shape[-2], z.shape[-1]))), size)
        return Outputs(final, {"inter_preds": preliminary})


def at_scale(
    stage: Any, maps: list[Tensor], skip: Tensor | None, message: Message | None
) -> tuple[list[Tensor], Message]:
    """One stage: each task's map (B, C, h, w) -> (B, C / 2, 2 h, 2 w), and the next stage's message."""
    if stage.embed is not None:
        doubled = [resized(x, (2 * x.shape[2], 2 * x.shape[3])) for x in maps]
        maps = [embed(x) for embed, x in zip(stage.embed.values(), doubled, strict=True)]
    size = (maps[0].shape[2], maps[0].shape[3])
    if skip is not None:
        maps = [x + resized(skip, size) for x in maps]
    x = torch.cat([tokens_of(m) for m in maps], dim=1)  # (B, T h w, C)
    y, message = attended(stage.attention, stage.norm1(x), size, len(maps), message)
    x = x + y
    x = x + stage.mlp(stage.norm2(x))
    return [map_of(part, size) for part in x.chunk(len(maps), dim=1)], message


def attended(
    layer: Any, x: Tensor, size: Size, tasks: int, message: Message | None
) -> tuple[Tensor, Message]:
    """Attention of all tasks' tokens (B, T h w, C), and its message."""
    maps = [map_of(part, size) for part in x.chunk(tasks, dim=1)]
    asking = [query(m) for query, m in zip(layer.queries.values(), maps, strict=True)]  # (B, C, h/2, w/2)
    pooled = [[F.avg_pool2d(m, layer.window, ceil_mode=True) for m in maps] for _ in range(2)]  # keys, values
    half = (asking[0].shape[2], asking[0].shape[3])

    def heads_of(found: list[Tensor], project: Any) -> Tensor:
        tokens = project(torch.cat([tokens_of(m) for m in found], dim=1))
        split: Tensor = tokens.unflatten(2, (layer.heads, -1)).transpose(1, 2)
        return split  # (B, heads, N, d)

    q = heads_of(asking, layer.proj_q)
    k, v = heads_of(pooled[0], layer.proj_k), heads_of(pooled[1], layer.proj_v)
    logits = q @ k.transpose(2, 3) * layer.scale  # (B, heads, T h/2 w/2, K)
    if message is not None:
        coarser = [resized(m, half).flatten(2).transpose(1, 2) for m in message]  # (B heads, h/2 w/2, K)
        coarser = [m.unflatten(0, (-1, layer.heads)) for m in coarser]
        logits = layer.fuse(torch.cat([logits, torch.cat(coarser, dim=2)], dim=1))
    message = [map_of(part.flatten(0, 1), half) for part in logits.chunk(tasks, dim=2)]
    y = layer.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
    answers = [resized(map_of(part, half), size) for part in y.chunk(tasks, dim=1)]
    return torch.cat([tokens_of(m) for m in answers], dim=1), message


def normed_together(norm: Any, maps: list[Tensor]) -> list[Tensor]:
    """LayerNorm over the channels of all tasks: maps (B, C, h, w) -> the same."""
    size = (maps[0].shape[2], maps[0].shape[3])
    tokens = norm(tokens_of(torch.cat(maps, dim=1)))
    return [map_of(part, size) for part in tokens.chunk(len(maps), dim=2)]

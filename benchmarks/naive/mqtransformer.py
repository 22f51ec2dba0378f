"""MQTransformer, as released."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.degmix import embedded
from naive.shared import NaiveForm, Size, any_attention, concatenated, map_of, tokens_of


class NaiveMQTransformer(NaiveForm):
    """Every task's pixels are projected, normed and asked for themselves; all attention weights are made."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        net, count = self.network, len(self.network.tasks)
        x = concatenated(features).permute(0, 2, 3, 1)  # (B, h, w, sum of C_i)
        pixels = []
        for linear in net.projections.values():
            y = linear(x).permute(0, 3, 1, 2)
            if "unused_patches" in net.quirks:
                embedded(net.unused_patches, y)  # the published code reads no more of it
            pixels.append(tokens_of(y.contiguous()))  # (B, N, C)
        tokens = [
            encoded(net.encoder, net.tokens[task], for_heads(net.query_positions[task], net), y)
            for task, y in zip(net.tasks, pixels, strict=True)
        ]
        tokens = list(exchanged(net.interaction, torch.cat(tokens, dim=1)).chunk(count, dim=1))
        final = {}
        for i, task in enumerate(net.tasks):
            y = decoded(net.decoder, pixels[i], tokens[i], for_heads(net.key_positions[task], net))
            final[task] = self.predict(task, map_of(y, (x.shape[1], x.shape[2])), size)
        return Outputs(final)


def for_heads(positions: Tensor, net: Any) -> Tensor:
    """The same for each head: (1, M, 1, d) -> (1, M, C)."""
    return positions.expand(-1, -1, net.encoder.attention.heads, -1).flatten(2)


def encoded(layer: Any, tokens: Tensor, positions: Tensor, pixels: Tensor) -> Tensor:
    """Tokens (1, M, C) ask pixels (B, N, C) -> (B, M, C)."""
    tokens = tokens.expand(len(pixels), -1, -1)
    asked = any_attention(layer.attention, tokens + positions, pixels, pixels)
    p = tokens + dropped(asked, layer.drop_path)
    mixed = F.conv1d(layer.norm(p).transpose(1, 2), layer.mix.weight.unsqueeze(2)).transpose(1, 2)
    p = p + mixed
    return p + dropped(layer.mlp(p), layer.drop_path)


def exchanged(layer: Any, p: Tensor) -> Tensor:
    """All tokens of all tasks attend to each other: (B, T M, C) -> the same."""
    p = p + dropped(layer.attention(p, p, p)[0], layer.drop_path)
    return p + dropped(layer.mlp(layer.norm(p)), layer.drop_path)


def decoded(layer: Any, x: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
    """Pixels (B, N, C) ask tokens (B, M, C), then those of the batch at the same position -> (B, N, C)."""
    o = x + dropped(any_attention(layer.attention, x, tokens + positions, tokens), layer.drop_path)
    o = o + dropped(layer.mlp(o), layer.drop_path)
    seen = layer.self_attention.attention(o, o, o)[0]
    y = x + dropped(seen, layer.drop_path)
    return F.gelu(y + dropped(layer.self_mlp(y), layer.drop_path))


def dropped(x: Tensor, layer: Any) -> Tensor:
    """Drop path of each sample."""
    if not layer.training or layer.rate == 0:
        return x
    kept = x.new_empty((len(x), 1, 1)).bernoulli_(1 - layer.rate)
    return x / (1 - layer.rate) * kept

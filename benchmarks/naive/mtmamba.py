"""MTMamba and MTMamba++, as released, with the reference form of the selective scan."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, resized


class NaiveMTMamba(NaiveForm):
    """Every task's maps are scanned one after the other, along four sequences that are put together."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        maps = [x.permute(0, 2, 3, 1).contiguous() for x in reversed(features)]
        x = dict.fromkeys(self.network.tasks, maps[0])
        for stage, skip in zip(self.network.stages, maps[1:], strict=True):
            x = self.exchanged(stage.across, {t: within(stage, t, y, skip) for t, y in x.items()})
        return Outputs({t: resized(self.logits(t, y), size) for t, y in x.items()})

    def exchanged(self, across: Any, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """CTM: task -> (B, H, W, C) to the same."""
        shared = ss2d(across.shared, across.shared_norm(torch.cat(list(x.values()), dim=-1)))
        found = {}
        for t, y in x.items():
            normed = across.norms[t](y)
            gate = torch.sigmoid(across.gates[t](normed))
            mixed = gate * shared + (1 - gate) * ss2d(across.own[t], normed)
            found[t] = y + across.drop_path(across.out[t](mixed))
        return found

    def logits(self, task: str, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, K, 4 h, 4 w)."""
        expanded = patch_expanded(self.network.final_expand[task], x).permute(0, 3, 1, 2)
        logits: Tensor = self.network.final_logits[task](expanded.contiguous())
        return logits


class NaiveMTMambaPlus(NaiveMTMamba):
    """As that of MTMamba, steered by a map of all tasks."""

    def exchanged(self, across: Any, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """S-CTM: task -> (B, H, W, C) to the same."""
        together = across.shared_norm(torch.cat(list(x.values()), dim=-1)).permute(0, 3, 1, 2)
        shared = across.shared(together.contiguous()).permute(0, 2, 3, 1).contiguous()
        return {
            t: y + across.drop_path(ss2d(across.own[t], across.norms[t](y), shared)) for t, y in x.items()
        }

    def logits(self, task: str, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, K, h, w)."""
        expanded = self.network.final_expand[task](x.permute(0, 3, 1, 2).contiguous())
        logits: Tensor = self.network.final_logits[task](expanded)
        return logits


def within(stage: Any, task: str, x: Tensor, skip: Tensor) -> Tensor:
    """A stage up to its exchange: (B, h, w, C_in) and the backbone's map (B, H, W, C) -> (B, H, W, C)."""
    fine = patch_expanded(stage.expand[task], x).permute(0, 3, 1, 2)
    fine = resized(fine, (skip.shape[1], skip.shape[2])).permute(0, 2, 3, 1)
    y = stage.reduce[task](torch.cat([fine, skip], dim=-1))
    for stm in stage.within[task]:
        y = y + stm.drop_path(ss2d(stm.ss2d, stm.norm(y)))
    return y


def patch_expanded(layer: Any, x: Tensor) -> Tensor:
    """(B, H, W, C_in) -> (B, s H, s W, C)."""
    (batch, height, width, _), scale = x.shape, layer.scale
    parts = layer.expand(x).view(batch, height, width, scale, scale, -1).permute(0, 1, 3, 2, 4, 5)
    expanded: Tensor = layer.norm(parts.reshape(batch, scale * height, scale * width, -1))
    return expanded


def ss2d(block: Any, x: Tensor, steering: Tensor | None = None) -> Tensor:
    """(B, H, W, C_in) -> (B, H, W, C), without gate as wide as the scan."""
    u = block.project(x)
    if block.gated:
        u, gate = u.chunk(2, dim=-1)
    u = F.silu(block.conv(u.permute(0, 3, 1, 2).contiguous()))
    steers = u if steering is None else block.steer(steering).permute(0, 3, 1, 2).contiguous()
    z = block.norm(four_scans(block.scan, u, steers).permute(0, 2, 3, 1))
    out: Tensor = block.out(z * F.silu(gate)) if block.gated else z
    return out


def four_scans(scan: Any, u: Tensor, steers: Tensor) -> Tensor:
    """Maps (B, D, H, W), of what is scanned and of what steers -> (B, D, H, W)."""
    height, width = u.shape[-2:]
    ways = scan.project.shape[0]
    projected = torch.einsum("bkdl,kcd->bkcl", sequences(steers), scan.project)
    low, b, c = projected.split(scan.sizes, dim=2)
    delta = torch.einsum("bkrl,kdr->bkdl", low, scan.step_weight)
    a = -torch.exp(scan.decay_logs).unflatten(0, (ways, -1))
    through = scan.through.unflatten(0, (ways, -1))
    y = reference_scan(sequences(u), F.softplus(delta + scan.step_bias.unsqueeze(-1)), a, b, c, through)
    y = y[:, :2] + y[:, 2:].flip(-1)
    return y[:, 0].unflatten(-1, (height, width)) + y[:, 1].unflatten(-1, (width, height)).transpose(2, 3)


def sequences(x: Tensor) -> Tensor:
    """(B, D, H, W) -> by rows, by columns, and both backwards: (B, 4, D, H W)."""
    forwards = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], dim=1)
    return torch.cat([forwards, forwards.flip(-1)], dim=1)


def reference_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """One step after the other, of all decays and inputs: (B, K, D, L), A (K, D, N), B, C (B, K, N, L).

    The released reference indexes every step, whose gradients autograd adds up at full length each; here
    steps are taken apart at once.
    """
    decays = torch.exp(torch.einsum("bkdl,kdn->lbkdn", dt, a))
    inputs = torch.einsum("bkdl,bknl,bkdl->lbkdn", dt, b, u)
    h, found = torch.zeros_like(inputs[0]), []
    for decay, given, reads in zip(decays.unbind(), inputs.unbind(), c.unbind(-1), strict=True):
        h = decay * h + given
        found.append(torch.einsum("bkdn,bkn->bkd", h, reads))
    return torch.stack(found, dim=-1) + d.unsqueeze(-1) * u

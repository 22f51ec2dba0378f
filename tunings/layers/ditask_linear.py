"""DITASK's layer (Mantri et al., "DiTASK: Multi-Task Fine-Tuning with Diffeomorphic Transformations", CVPR
2025): frozen weights whose spectrum is resampled along a CPAB map.

    W      = U diag(S) V^T                  thin, S descending; rows of q, k and v apart (also k and v)
    W'     = U diag(S') V^T                 S'_i = S at the index (K - 1) phi_theta(i / (K - 1))
    out    = W' D(x) + b                    shared; D is dropout
    out_t  = W'_t x_t + b                   x_t: the task's stream, or D(x) without one

theta, one for the layer and one for each task, is all that trains. Ends of the spectrum stay, as phi keeps 0
and 1, and it stays sorted: code and paper differ in this, the paper speaks of maps of the values themselves.

W is frozen, so its decomposition is made once, and again only when W is loaded or moved; it is no entry of
the state dict. W' is made (2 K D C products) where that is cheaper than U (S' V^T x) for each token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32
from mtlbench.profiling.modules import linear_macs

from .spectra import deform
from .streams import Flow, StreamLinear


@dataclass(frozen=True)
class Decomposition:
    """Of G groups of rows of a weight (G D, C): U (G, D, K), S (G, K) float32, V^T (G, K, C)."""

    u: Tensor
    s: Tensor
    vh: Tensor


class DiTASKLinear(StreamLinear):
    """A linear layer with a deformed spectrum: one for all, one for each task.

    Args:
        linear: the layer.
        cells: n of the shared map; it has n - 1 parameters.
        task_cells: n of each task's map.
        flow, dropout: as in `StreamLinear`.
    """

    def __init__(
        self,
        linear: nn.Linear,
        *,
        cells: int,
        task_cells: Mapping[str, int],
        flow: Flow,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(linear, task_cells, flow=flow, dropout=dropout)
        self.groups = row_groups(linear)
        self.lora_shared_A = _theta(linear, cells)
        self.lora_tasks_A = nn.ParameterDict({task: _theta(linear, n) for task, n in task_cells.items()})
        self.spectra: list[Tensor] | None = None
        """S' (G, K) of the shared stream and of each task's, where they were made for many layers at once."""
        self._decomposed: tuple[tuple[object, ...], Decomposition] | None = None

    def thetas(self) -> list[Tensor]:
        """Parameters (1, n - 1) of the maps of all streams that it gives."""
        own = [] if self.flow == "shared" else [self.lora_tasks_A[task] for task in self.tasks]
        return [self.lora_shared_A, *own]

    def decomposition(self) -> Decomposition:
        """Of the frozen weight, as it is now."""
        w = self.linear.weight
        key = (w._version, w.data_ptr() if w.device.type != "meta" else 0, w.device, w.dtype)
        if self._decomposed is None or self._decomposed[0] != key:
            with torch.no_grad(), in_float32(w):
                rows = w.float().unflatten(0, (self.groups, -1))
                u, s, vh = torch.linalg.svd(rows, full_matrices=False)
            found = Decomposition(u.to(w.dtype).contiguous(), s, vh.to(w.dtype).contiguous())
            self._decomposed = (key, found)
        return self._decomposed[1]

    def outputs(self, x: Tensor, own: Tensor | None, *, tasks: bool) -> Tensor:
        d = self.decomposition()
        spectra = self.spectra or [deform(d.s, theta) for theta in self.thetas()]
        x = self.lora_dropout(x)
        if not tasks:
            return self._shared(x, d, spectra[0])[None]
        z = F.linear(x, d.vh.flatten(0, 1))[None]
        if own is not None:
            z = torch.cat([z, F.linear(own, d.vh.flatten(0, 1))])
        scales = torch.stack([s.flatten() for s in spectra]).to(z.dtype)  # (1 + T, G K)
        return self._back(z * scales.view(len(scales), *[1] * (x.dim() - 1), -1), d)

    def _shared(self, x: Tensor, d: Decomposition, spectrum: Tensor) -> Tensor:
        tokens, (k, width), rows = x.shape[:-1].numel(), d.vh.shape[1:], d.u.shape[1]
        # a pass forward and back; W' costs 2 K D C products more, but has no detour over K
        if 3 * tokens * rows * width + 2 * k * rows * width < 2 * tokens * k * (rows + width):
            return F.linear(x, self._weight(d, spectrum), self.linear.bias)
        return self._back(F.linear(x, d.vh.flatten(0, 1)) * spectrum.flatten(), d)

    def _back(self, z: Tensor, d: Decomposition) -> Tensor:
        """S' V^T x (..., G K) -> U S' V^T x + b."""
        if self.groups == 1:
            return F.linear(z, d.u[0], self.linear.bias)
        biases = [None] * self.groups if self.linear.bias is None else self.linear.bias.chunk(self.groups)
        parts = zip(z.chunk(self.groups, dim=-1), d.u, biases, strict=True)
        return torch.cat([F.linear(part, u, bias) for part, u, bias in parts], dim=-1)

    def _weight(self, d: Decomposition, spectrum: Tensor) -> Tensor:
        """W' (G D, C)."""
        return ((d.u * spectrum[:, None].to(d.u.dtype)) @ d.vh).flatten(0, 1)

    def module_macs(self, inputs: tuple[Tensor, ...], output: Tensor, counted: Mapping[str, int]) -> int:
        """Of a linear layer, as which a counter of modules sees it (`mtlbench.profiling.modules`)."""
        return linear_macs(self.linear, output.numel() // self.linear.out_features)

    def deformed_weights(self) -> list[Tensor]:
        """W' of the shared stream, and of each task in its order."""
        d = self.decomposition()
        thetas = [self.lora_shared_A, *(self.lora_tasks_A[task] for task in self.tasks)]
        return [self._weight(d, deform(d.s, theta)) for theta in thetas]

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with W' for W, of one that has no tasks."""
        self.linear.weight.copy_(self.deformed_weights()[0])
        return self.linear


def row_groups(linear: nn.Linear) -> int:
    """Into how many groups of rows its weight is taken apart: 3 for q, k and v, 2 for k and v, else 1."""
    ratio, rest = divmod(linear.out_features, linear.in_features)
    return ratio if rest == 0 and ratio in (2, 3) else 1


def _theta(linear: nn.Linear, cells: int) -> nn.Parameter:
    theta = nn.Parameter(torch.empty(1, cells - 1, device=linear.weight.device))
    nn.init.kaiming_uniform_(theta, a=math.sqrt(5))
    return theta

"""The gating unit that a task's tokens pass before they are decoded."""

from torch import Tensor, nn


class SpatialGate(nn.Module):
    """x + project(u * gate(LN(v))) with (u, v) the halves of GELU(expand(LN(x))).

    The gate is what the released code has under the paper's name "spatial": a linear map of a token's
    channels, the same at every position. It starts at 1 (weight 0, bias 1).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 2 * dim)
        self.gelu = nn.GELU()
        self.gate_norm = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, dim)
        self.project = nn.Linear(dim, dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.ones_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        u, v = self.gelu(self.expand(self.norm(x))).chunk(2, dim=-1)
        return x + self.project(u * self.gate(self.gate_norm(v)))

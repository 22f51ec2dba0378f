"""Adapters whose weights a network makes from what the task and the layer are (HyperFormer, Polyhistor).

    e     = LN(W_2 ReLU(W_1 [task embedding; layer embedding]))         one for each pair
    y     = W x + b                                                     a frozen layer that ends a branch
    out   = y + LN(up(swish(down y)))                                   down, up, LN: linear functions of e

What makes gain and offset of LN starts at zero, so that at first nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.tuning import BackboneMode, freeze_backbone

from .bottleneck import AFTER_ATTENTION, AFTER_MLP, ends_of_branches
from .own_maps import check_shared
from .passes import TaskPasses
from .replacing import put

HIDDEN, CODE = 128, 64
"""Widths of the network that makes e, and of e."""
EPSILON = 1e-6
STD = 0.01
"""Of the initial weights of all that makes weights."""
MADE = ("down", "down_bias", "up", "up_bias", "gain", "offset")
"""What an adapter is made of."""


class MadeAdapter(nn.Module):
    """A linear layer with an adapter that holds no weights: they come with each pass (`functional_call`)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        for name in MADE:
            self.register_buffer(name, torch.empty(0, device=linear.weight.device), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in) -> (..., C)."""
        y: Tensor = self.linear(x)
        narrow = F.silu(F.linear(y, self.down, self.down_bias))  # type: ignore[arg-type]
        wide = F.linear(narrow, self.up, self.up_bias)  # type: ignore[arg-type]
        return y + F.layer_norm(wide, wide.shape[-1:], self.gain, self.offset)  # type: ignore[arg-type]


class Matrices(nn.Module):
    """Makes a matrix of each code: a linear function of it."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.shape = (rows, columns)
        self.make = linear(CODE, rows * columns)

    def forward(self, codes: Tensor) -> Tensor:
        """(L, CODE) -> (L, rows, columns)."""
        made: Tensor = self.make(codes).unflatten(-1, self.shape)
        return made


class LowRankMatrices(nn.Module):
    """Makes two factors of each code, and the matrix is their product."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.left, self.right = Matrices(rows, rank), Matrices(rank, columns)
        nn.init.normal_(self.left.make.bias, std=rank**-0.5)  # else products of numbers near zero
        nn.init.normal_(self.right.make.bias, std=rank**-0.5)

    def forward(self, codes: Tensor) -> Tensor:
        """(L, CODE) -> (L, rows, columns)."""
        made: Tensor = self.left(codes) @ self.right(codes)
        return made


class ScaledMatrices(nn.Module):
    """A narrower matrix (the template) of each code, and for each layer a Kronecker factor of its own.

    Args:
        templates: makes the template; shared by layers of all widths.
        layers: how many have this width.
        times: their width over the template's.
    """

    def __init__(self, templates: nn.Module, layers: int, times: int) -> None:
        super().__init__()
        self.templates = (templates,)  # in a tuple: its parameters are others' too
        self.scales = nn.Parameter(torch.eye(times).repeat(layers, 1, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """(L, CODE) -> (L, rows, columns)."""
        made = self.templates[0](codes)  # (L, rows / times, columns / times)
        product = torch.einsum("lij,lrc->lirjc", self.scales, made)
        return product.flatten(3, 4).flatten(1, 2)


MakeMatrices = Callable[[int, int, int], nn.Module]
"""(rows, columns, layers) -> what makes such matrices for so many layers."""


class AdapterWeights(nn.Module):
    """What makes the adapters of all layers of one width.

    Args:
        dim: their width.
        width: of the bottleneck.
        layers: how many they are.
        matrices: what makes matrices.
    """

    def __init__(self, dim: int, width: int, layers: int, matrices: MakeMatrices) -> None:
        super().__init__()
        self.down, self.up = matrices(width, dim, layers), matrices(dim, width, layers)
        self.down_bias, self.up_bias = linear(CODE, width), linear(CODE, dim)
        self.gain, self.offset = linear(CODE, dim), linear(CODE, dim)
        for start in (self.gain, self.offset):
            nn.init.zeros_(start.weight)

    def forward(self, codes: Tensor) -> dict[str, Tensor]:
        """(L, CODE) -> each part of an adapter, for L layers."""
        return {name: getattr(self, name)(codes) for name in MADE}


class MadeWeights(TaskPasses):
    """A pass of the backbone for each task, with adapters that one network makes for all tasks and layers.

    Args:
        trunk: the backbone.
        tasks: that have a pass.
        layers: where adapters stand: names and layers.
        embedding: width of the embeddings of tasks and of layers.
        reduction: a layer's width over that of its bottleneck.
        matrices: what makes matrices.
    """

    def __init__(
        self,
        trunk: nn.Module,
        tasks: Sequence[str],
        layers: Mapping[str, nn.Linear],
        *,
        embedding: int,
        reduction: int,
        matrices: MakeMatrices,
    ) -> None:
        super().__init__(trunk, tasks)
        for name, layer in layers.items():
            put(trunk, name, MadeAdapter(layer))
        device = next(iter(layers.values())).weight.device
        self.widths = by_width(layers)
        with torch.device(device):
            self.embeddings = nn.ParameterDict({t: nn.Parameter(torch.randn(embedding)) for t in tasks})
            self.layer_embeddings = nn.ParameterDict(
                {str(dim): torch.randn(len(names), embedding) for dim, names in self.widths.items()}
            )
            self.code = nn.Sequential(
                nn.Linear(2 * embedding, HIDDEN),
                nn.ReLU(),
                nn.Linear(HIDDEN, CODE),
                nn.LayerNorm(CODE, eps=EPSILON),
            )
            self.makers = nn.ModuleDict(
                {
                    str(dim): AdapterWeights(dim, max(dim // reduction, 1), len(names), matrices)
                    for dim, names in self.widths.items()
                }
            )

    def weights(self, task: str) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for dim, names in self.widths.items():
            layers = self.layer_embeddings[str(dim)]
            pairs = torch.cat([self.embeddings[task].expand(len(names), -1), layers], dim=-1)
            made = self.makers[str(dim)](self.code(pairs))
            for part, values in made.items():
                found |= {f"{name}.{part}": value for name, value in zip(names, values, strict=True)}
        return found


def make_adapters(
    network: Method,
    matrices: Callable[[list[int]], MakeMatrices],
    *,
    tuning: str,
    embedding: int,
    reduction: int,
    mode: BackboneMode,
) -> Method:
    """Freeze the backbone, and give each task a pass of it with made adapters, behind attention and MLP.

    Args:
        network: to be tuned.
        matrices: the layers' widths, narrow to wide -> what makes matrices.
        tuning: its name.
        embedding: see `MadeWeights`.
        reduction: see `MadeWeights`.
        mode: of the backbone.

    Raises:
        MtlbenchError: the backbone has no blocks of attention and MLP, or tasks can't have maps of their own.
    """
    if not network.needs_backbone:
        return network
    layers = ends_of_branches(network.backbone, [AFTER_ATTENTION, AFTER_MLP], tuning=tuning)
    check_shared(network)
    make = matrices(list(by_width(layers)))
    freeze_backbone(network, mode)
    network.backbone = MadeWeights(
        network.backbone,
        tuple(network.tasks),
        layers,
        embedding=embedding,
        reduction=reduction,
        matrices=make,
    )
    return network


def check_positive(tuning: str, **options: int) -> None:
    """Raises MtlbenchError for one that is not."""
    for name, value in options.items():
        if value < 1:
            raise MtlbenchError(f"`{name}` of {tuning} must be >= 1, got {value}")


def by_width(layers: Mapping[str, nn.Linear]) -> dict[int, list[str]]:
    """Width -> the layers that have it, narrow to wide."""
    widths = sorted({layer.out_features for layer in layers.values()})
    return {dim: [n for n, layer in layers.items() if layer.out_features == dim] for dim in widths}


def multiples_of(narrowest: int, widths: Iterable[int]) -> bool:
    return all(dim % narrowest == 0 for dim in widths)


def linear(dim_in: int, dim_out: int) -> nn.Linear:
    """That makes weights: it starts near zero."""
    layer = nn.Linear(dim_in, dim_out)
    nn.init.normal_(layer.weight, std=STD)
    nn.init.zeros_(layer.bias)
    return layer

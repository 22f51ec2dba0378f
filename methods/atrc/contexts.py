"""The ways in which a target task's features ask a source task's features.

Each asks with queries made of the target's features F_t, per position, and answers with values made of the
source's:

    global   v k^T q / (1^T k q)                  all positions; q, k > 0 by softplus, linear in their number
    local    softmax over 9x9 of (q k / sqrt(d))  the positions around
    t-label  softmax(q K^T / sqrt(d)) V           K, V from F_s averaged over the soft regions of the target's
    s-label  the same                             ... of the source's auxiliary prediction
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.precision import in_float32

from ..layers.batch_norm import BatchNorm2d
from .local import window_attention

NONE, GLOBAL, LOCAL, T_LABEL, S_LABEL = range(5)
KINDS = {"none": NONE, "global": GLOBAL, "local": LOCAL, "t-label": T_LABEL, "s-label": S_LABEL}
"""Names of the kinds of context -> their numbers in published genotypes."""


class Projection(nn.Module):
    """1x1 convolution without bias, batch norm, activation."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        activation: Callable[[Tensor], Tensor] = F.relu,
        *,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.bn = BatchNorm2d(channels_out, affine=affine)
        self.activation = activation
        nn.init.xavier_uniform_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        return self.activation(self.bn(self.conv(x)))


class Context(nn.Module):
    """What all kinds share: queries, keys and values.

    Args:
        channels: of the features.
        dim: of queries, keys, values and the answer.
        affine: of the values' batch norm.
    """

    last: Callable[[Tensor], Tensor] = staticmethod(F.relu)
    """Activation of queries and keys."""

    def __init__(self, channels: int, dim: int, *, affine: bool = True) -> None:
        super().__init__()
        self.query, self.key = (
            nn.Sequential(Projection(channels, dim), Projection(dim, dim, self.last)) for _ in range(2)
        )
        self.value = Projection(channels, dim, affine=affine)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Features (B, C, H, W) and what they ask (B, C, H', W') -> (B, D, H, W)."""
        return self.attend(self.query(target), self.key(source), self.value(source))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, D, H, W), (B, D, H', W') twice -> (B, D, H, W)."""
        raise NotImplementedError


class GlobalContext(Context):
    """All positions, by attention that is linear in their number."""

    last = staticmethod(F.softplus)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Linear attention, v k^T q / (1^T k q), in float32: it sums over all positions."""
        with in_float32(q):
            queries, k, v = (x.float().flatten(2) for x in (q, k, v))  # (B, D, N)
            weights = k.sum(2, keepdim=True).transpose(1, 2) @ queries  # (B, 1, N)
            answer = (v @ k.transpose(1, 2)) @ queries / weights.clamp(min=1e-12)
        return answer.view_as(q)


class LocalContext(Context):
    """The 9x9 positions around; `see_outside`: see `window_attention`."""

    def __init__(self, channels: int, dim: int, *, affine: bool = True, see_outside: bool = False) -> None:
        super().__init__(channels, dim, affine=affine)
        self.see_outside = see_outside

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Values of the window, weighted by softmax(q k / sqrt(D))."""
        return window_attention(q, k, v, see_outside=self.see_outside)


class LabelContext(Context):
    """The regions of an auxiliary prediction: `source` has one position for each (`Regions`)."""

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Features (B, C, H, W) and regions (B, C, K, 1), which differ little: float32 -> (B, D, H, W)."""
        with in_float32(source):
            k, v = self.key(source), self.value(source)
        return self.attend(self.query(target), k, v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(D)) v over the regions; in this order nothing large is transposed."""
        keys = k.flatten(2).transpose(1, 2) * k.shape[1] ** -0.5  # (B, K, D)
        weights = (keys @ q.flatten(2)).softmax(1)  # (B, K, N)
        return (v.flatten(2) @ weights).view_as(q)


class Regions:
    """Features averaged over the soft regions of auxiliary predictions.

    A region's weights are the softmax of its logit over all positions. The published code first removes
    positions where the image is 255; images are normalised by then, so it removes none.

    Args:
        logits: task -> auxiliary prediction (B, K, H, W).
        features: task -> (B, C, H, W).
    """

    def __init__(self, logits: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> None:
        self.weights = {task: x.flatten(2).float().softmax(2) for task, x in logits.items()}  # (B, K, N)
        self.features = features
        self._means: dict[tuple[str, str], Tensor] = {}

    def means(self, labels: str, source: str) -> Tensor:
        """The features of `source` in the regions of `labels`: (B, C, K, 1), computed once."""
        if (labels, source) not in self._means:
            features = self.features[source]
            with in_float32(features):
                means = features.float().flatten(2) @ self.weights[labels].transpose(1, 2)  # (B, C, K)
            self._means[labels, source] = means.unsqueeze(3)
        return self._means[labels, source]

    def asked(self, kind: int, target: str, source: str) -> Tensor:
        """What a context of this kind asks: the source's features, or their means."""
        if kind in (T_LABEL, S_LABEL):
            return self.means(target if kind == T_LABEL else source, source)
        return self.features[source]


def make_context(kind: int, channels: int, *, see_outside: bool, affine: bool = True) -> Context:
    """A context of a kind other than none; queries, keys and values are half as wide as the features."""
    dim = context_dim(channels)
    if kind == GLOBAL:
        return GlobalContext(channels, dim, affine=affine)
    if kind == LOCAL:
        return LocalContext(channels, dim, affine=affine, see_outside=see_outside)
    return LabelContext(channels, dim, affine=affine)


def context_dim(channels: int) -> int:
    """Width of the answers to features of `channels`."""
    return max(channels // 2, 1)

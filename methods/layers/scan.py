"""The selective scan: a linear recurrence whose step sizes, inputs and outputs depend on the data.

Paper: Gu, Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024. For every
channel d, with N states n, and dt_t = softplus(delta_t),

    h_t[n] = exp(dt_t A[n]) h_(t-1)[n] + dt_t B_t[n] u_t,        y_t = sum_n C_t[n] h_t[n] + D u_t

in several directions at once, each with parameters of its own. In plain torch and in float32 at least,
whatever autocast says. For the way back, u, delta, B, C and one state in 16 or more are kept: at 16 states a
channel no more than u once again. Forward and backward pass hold the states of a few steps at a time.

It is an operator of its own (`mtlbench::selective_scan`), so that it counts where multiply-accumulates are
counted, as L N (K D) times 9: what the code of Mamba and VMamba counts, exponentials included.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from mtlbench.precision import in_float32

from .scan_gradients import Gradients, gradients
from .scan_steps import Laid, by_steps, laid, scan

MACS_PER_STATE = 9


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Scan sequences in K directions.

    Args:
        u: input, (B, K, L, D).
        delta: step sizes before softplus, (B, K, L, D).
        a: rates of decay, negative, (K, D, N).
        b: how the input reaches the states, (B, K, L, N).
        c: how the states reach the output, (B, K, L, N).
        d: weight of the input in the output, (K, D).

    Returns:
        (B, K, L, D), float32 (float64 of float64). Differentiable once.
    """
    with in_float32(u):
        u, delta, a, b, c = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (u, delta, a, b, c))
        trains = torch.is_grad_enabled() and any(x.requires_grad for x in (u, delta, a, b, c))
        y, _ = _scan(u, delta, a, b, c, trains)
        return torch.addcmul(y, u, d.unsqueeze(1))


@torch.library.custom_op("mtlbench::selective_scan", mutates_args=())
def _scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs without D u (B, K, L, D), and if `keep` the states that the way back starts from."""
    with in_float32(u):
        dt = F.softplus(delta)
        seq = laid(dt * u, dt, a, b, c)
        y, on_way = _empty(seq, u)
        states = seq.room(len(seq.chunks())) if keep else None
        scan(seq, on_way, states)
    return _cut(y, u), u.new_empty(0) if states is None else states


@torch.library.custom_op("mtlbench::selective_scan_gradients", mutates_args=())
def _back(
    dy: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, states: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """V gradients of y (V, B, K, L, D) -> those of u, delta, A, B, C, each with V in front."""
    with in_float32(u):
        dt = F.softplus(delta)
        seq = laid(dt * u, dt, a, b, c)
        full = {name: _empty(seq, x, len(dy)) for name, x in (("x", u), ("dt", u), ("b", b), ("c", b))}
        da = u.new_zeros(len(dy), *seq.a.shape)
        x_way, dt_way, b_way, c_way = (way for _, way in full.values())
        gradients(seq, states, by_steps(dy, seq.plan), Gradients(x_way, dt_way, b_way, c_way, da))
        dx, ddt, db, dc = (_cut(x, u) for x, _ in full.values())
        ddelta = ddt.mul_(math.log(2)).addcmul_(dx, u).mul_(dt.neg().expm1_().neg_())
    return dx.mul_(dt), ddelta, da.transpose(-2, -1).contiguous(), db, dc


def _empty(seq: Laid, like: Tensor, *batched: int) -> tuple[Tensor, Tensor]:
    """Room for (B, K, L, D) with the steps that fill the last segment, and its view by steps."""
    length = seq.plan.segments * seq.plan.steps
    found = like.new_empty(*batched, *like.shape[:2], length, like.shape[3])
    return found, by_steps(found, seq.plan)


def _cut(x: Tensor, like: Tensor) -> Tensor:
    """Without the steps that fill the last segment."""
    return x[..., : like.shape[2], :].contiguous()


@_scan.register_fake
def _(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    seq = laid(u, u, a, b, c)
    return torch.empty_like(u), seq.room(len(seq.chunks())) if keep else u.new_empty(0)


@_back.register_fake
def _(
    dy: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, states: Tensor
) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(len(dy), *x.shape) for x in (u, delta, a, b, c))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:-1], output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, dy: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if dy is None:
        return (None,) * 6
    found = _back(dy.unsqueeze(0), *ctx.saved_tensors)
    return (*(x.squeeze(0) for x in found), None)


_scan.register_autograd(_backward, setup_context=_save)


@_back.register_vmap
def _several(info: Any, in_dims: Sequence[int | None], dy: Tensor, *rest: Tensor) -> tuple[Any, Any]:
    """Several gradients of the same scan, as `is_grads_batched` has them, go back together."""
    if in_dims[0] is None or any(dim is not None for dim in in_dims[1:]):
        raise NotImplementedError("only gradients of one scan can be batched, not the scan itself")
    batched = dy.movedim(in_dims[0], 0)
    found = _back(batched.flatten(0, 1), *rest)
    return tuple(x.unflatten(0, batched.shape[:2]) for x in found), (0,) * len(found)


@register_flop_formula(torch.ops.mtlbench.selective_scan)
def _flops(u: Any, delta: Any, a: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the multiply-accumulates, from the tensors' shapes."""
    batch, _, length, _ = u
    directions, dim, states = a
    return int(2 * MACS_PER_STATE * batch * length * directions * dim * states)

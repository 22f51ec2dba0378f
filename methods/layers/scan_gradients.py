"""The way back through the selective scan, for one or several gradients of its output at once.

With g_t the gradient of the state h_t, from the last step to the first,

    g_t = C_t dy_t + exp(dt_(t+1) A) g_(t+1),                    w_t = g_t exp(dt_t A) h_(t-1)
    dC_t = sum_d h_t dy_t,   dB_t = sum_d g_t dt_t u_t,          dx_t = sum_n g_t B_t
    du_t = dx_t dt_t,        d dt_t = dx_t u_t + sum_n w_t A,    dA = sum_t w_t dt_t

States are made anew, chunk by chunk, from those that were kept; they and the decays serve all gradients.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .scan_steps import Laid, hand_on, states_of


@dataclass
class Gradients:
    """Of V outputs, in the order of the steps.

    Attributes:
        x, dt: (L, V, M, B, K, D).
        b, c: (L, V, M, B, K, N).
        a: (V, K, N, D).
    """

    x: Tensor
    dt: Tensor
    b: Tensor
    c: Tensor
    a: Tensor


def gradients(seq: Laid, states: Tensor, dy: Tensor, found: Gradients) -> None:
    """Fill in `found`, whose `a` is zero.

    Args:
        seq: what the scan took.
        states: in front of every chunk, (C, M, B, K, N, D).
        dy: (L, V, M, B, K, D).
        found: where to.
    """
    chunk, chunks = seq.plan.chunk, seq.chunks()
    decays, h = seq.room(chunk), seq.room(chunk + 1)
    g, spare = (h.new_empty(chunk, dy.shape[1], *h.shape[1:]) for _ in range(2))
    carried = torch.zeros_like(g[0])
    if seq.plan.segments > 1:
        for part in reversed(chunks):
            seq.decays(part, out=decays[: part.stop - part.start])
            carried = _go_back(seq, part, dy, decays, g, carried)
        carried = hand_on(seq.over_segments().flip(0), carried.movedim(1, 0).flip(0)).flip(0).movedim(0, 1)
    for i, part in reversed(list(enumerate(chunks))):
        h[0] = states[i]
        states_of(seq, part, decays, h)
        carried = _go_back(seq, part, dy, decays, g, carried)
        _collect(seq, part, dy, (decays, h, g, spare), found)


def _go_back(seq: Laid, part: slice, dy: Tensor, decays: Tensor, g: Tensor, carried: Tensor) -> Tensor:
    """Fill in g (S, V, M, B, K, N, D) of a chunk; what it adds to that of the state in front of it."""
    size = part.stop - part.start
    torch.mul(dy[part].unsqueeze(-2), seq.c[part].unsqueeze(1).unsqueeze(-1), out=g[:size])
    each, decay = g[:size].unbind(0), decays.unbind(0)
    each[-1].add_(carried)
    for i in range(size - 1, 0, -1):
        each[i - 1].addcmul_(decay[i], each[i])
    return decay[0] * each[0]


def _collect(seq: Laid, part: slice, dy: Tensor, buffers: tuple[Tensor, ...], found: Gradients) -> None:
    """The gradients of a chunk from its decays, states and g, all of which are overwritten."""
    size = part.stop - part.start
    decays, h, g, spare = (x[:size] for x in buffers)
    after, dt = buffers[1][1 : size + 1], seq.dt[part].unsqueeze(1)
    # rows times transposed matrices: on a CPU matrices times columns take eight times as long
    found.c[part] = (dy[part].unsqueeze(-2) @ after.unsqueeze(1).mT).squeeze(-2)
    found.b[part] = (seq.x[part].unsqueeze(1).unsqueeze(-2) @ g.mT).squeeze(-2)
    found.x[part] = (seq.b[part].unsqueeze(1).unsqueeze(-2) @ g).squeeze(-2)
    w = g.mul_(decays.mul_(h).unsqueeze(1))
    found.dt[part] = torch.mul(w, seq.a, out=spare).sum(-2)  # for A / log 2
    found.a += torch.mul(w, dt.unsqueeze(-2), out=spare).sum((0, 2, 3))

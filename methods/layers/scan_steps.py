"""The recurrence of the selective scan and of its gradients, step by step on buffers that are used again.

Tensors are laid out with the steps first and the channels last, (S, ..., K, N, D): a step is then one
`addcmul` on neighbouring numbers, and the rest is done for the steps of a chunk at once. Only a chunk's
states exist at a time; those in front of each chunk are kept for the way back, which makes the others anew.

A long sequence can be cut into segments that take their steps together, as if they were more of the batch.
A first run without input state finds what each segment hands on; then the second run starts from

    h_in[m + 1] = exp(A sum of dt over segment m) h_in[m] + h_out[m]

which costs the exponentials twice and makes the number of steps one after the other small: for a GPU, and for
few channels. Decays are only ever multiplied, never divided by, so none of them can overflow.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_SIZE, SHORTEST_CHUNK, LONGEST_CHUNK = 2**19, 16, 64
"""Numbers in a chunk that stay in a cache, and limits of its steps."""

STEP_SIZE = {"cpu": 2**12, "cuda": 2**20}
"""Numbers in a step below which more segments are worth their cost."""


class Plan(NamedTuple):
    """How a sequence is cut: `segments` that go on together, of `steps` each, `chunk` of these at once."""

    segments: int
    steps: int
    chunk: int


def plan(length: int, width: int, device: str) -> Plan:
    """For so many steps of `width` = B K N D numbers each."""
    wanted = STEP_SIZE.get(device, STEP_SIZE["cuda"]) // max(width, 1)
    segments = max(1, min(wanted, math.isqrt(2 * length)))
    steps = -(-length // segments)
    chunk = max(SHORTEST_CHUNK, min(LONGEST_CHUNK, CHUNK_SIZE // max(width * segments, 1)))
    return Plan(segments, steps, min(chunk, steps))


@dataclass(frozen=True)
class Laid:
    """What a scan takes, with the steps first.

    Attributes:
        x: dt u, (L, M, B, K, D), M segments.
        dt: (L, M, B, K, D).
        a: (K, N, D), A / log 2, so that decays are powers of 2: `exp2` takes half the time of `exp`.
        b, c: (L, M, B, K, N).
        plan: how it is cut.
    """

    x: Tensor
    dt: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    plan: Plan

    def chunks(self) -> list[slice]:
        """Of the steps, in order."""
        size, steps = self.plan.chunk, self.plan.steps
        return [slice(i, min(i + size, steps)) for i in range(0, steps, size)]

    def room(self, count: int) -> Tensor:
        """For so many states: (count, M, B, K, N, D)."""
        return self.x.new_empty(count, *self.x.shape[1:4], *self.a.shape[1:])

    def decays(self, part: slice, out: Tensor) -> None:
        """exp(dt A) of a chunk: (S, M, B, K, N, D)."""
        torch.mul(self.dt[part].unsqueeze(-2), self.a, out=out)
        out.exp2_()

    def over_segments(self) -> Tensor:
        """The product of all decays of a segment: (M, B, K, N, D)."""
        return torch.exp2(self.dt.sum(0).unsqueeze(-2) * self.a)


def laid(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Laid:
    """(B, K, L, D) or (B, K, L, N) each, A (K, D, N) -> in the order of the steps.

    Steps that fill the last segment are of size 0, so nothing happens in them.
    """
    batch, directions, length, dim = x.shape
    cut = plan(length, batch * directions * a.shape[-1] * dim, x.device.type)
    powers = (a * math.log2(math.e)).transpose(1, 2).contiguous()
    return Laid(by_steps(x, cut), by_steps(dt, cut), powers, by_steps(b, cut), by_steps(c, cut), cut)


def by_steps(x: Tensor, cut: Plan) -> Tensor:
    """(..., B, K, L, D) -> (L / M, ..., M, B, K, D): a view where the segments fill the sequence."""
    missing = cut.segments * cut.steps - x.shape[-2]
    if missing:
        x = F.pad(x, (0, 0, 0, missing))
    x = x.unflatten(-2, (cut.segments, cut.steps))  # (..., B, K, M, L / M, D)
    return x.movedim((-2, -3), (0, -4))


def scan(seq: Laid, y: Tensor, states: Tensor | None) -> None:
    """Fill in y = C h, (L, M, B, K, D), and, if given, the states in front of chunks, (C, M, B, K, N, D)."""
    decays, h = seq.room(seq.plan.chunk), seq.room(seq.plan.chunk + 1)
    h[0] = 0
    if seq.plan.segments > 1:
        for part in seq.chunks():
            h[0] = states_of(seq, part, decays, h)[-1]
        h[0] = hand_on(seq.over_segments(), h[0])
    for i, part in enumerate(seq.chunks()):
        if states is not None:
            states[i] = h[0]
        now = states_of(seq, part, decays, h)
        y[part] = (seq.c[part].unsqueeze(-2) @ now).squeeze(-2)
        h[0] = now[-1]


def states_of(seq: Laid, part: slice, decays: Tensor, h: Tensor) -> Tensor:
    """From the state in `h[0]` to those after each step of a chunk, in `h[1:]`: (S, M, B, K, N, D)."""
    size = part.stop - part.start
    now = h[1 : size + 1]
    seq.decays(part, out=decays[:size])
    torch.mul(seq.x[part].unsqueeze(-2), seq.b[part].unsqueeze(-1), out=now)
    each = h.unbind(0)
    for before, after, decay in zip(each[:size], each[1:], decays.unbind(0), strict=False):
        after.addcmul_(decay, before)
    return now


def hand_on(decays: Tensor, last: Tensor) -> Tensor:
    """Decays over and last states of segments that began with nothing (M, ...) -> their first states."""
    first = torch.zeros_like(last)
    for i in range(1, len(last)):
        torch.addcmul(last[i - 1], decays[i - 1], first[i - 1], out=first[i])
    return first

"""CPAB maps of [0, 1] (Freifeld et al., "Transformations Based on Continuous Piecewise-Affine Velocity
Fields", TPAMI 2017).

    v(x)      = V_j (1 - s) + V_(j+1) s        linear in each of n cells of width 1/n, s = n x - j
    V_j       = j / n sum_(k >= j) theta_k / k       at the nodes 1 <= j < n; V_0 = V_n = 0
    phi(x)    = where x is at time 1, if dx/dt = v(x)

In a cell with slope a, x(t) = x + v(x) t E(a t) with E(z) = (e^z - 1) / z, and from x the node y ahead is
reached after t = (y - x) / v(x) L(v(y) / v(x) - 1) with L(d) = log(1 + d) / d; never if v changes its sign.
Times add up from cell to cell, so the last node that a point passes is found by bisection of their sums:
exact, without integration in steps, for all points and cells at once; gradients are autograd's.
All is computed in float64, in which sums of times of up to 2 a cell leave an error of 1e-13.

Departures from the published code (difw): no shift of points that meet a node into the next cell, and no
threshold below which velocities and slopes are zero; together less than 1e-6.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEVER = 2.0
"""A time that is not waited for: all motion ends at 1."""
SMALL = 1e-5
"""Below it E and L are their series, whose next terms are below float64's rounding."""
LARGEST = 700.0
"""Of what float64 can raise e to."""


def velocities(theta: Tensor) -> Tensor:
    """Parameters (..., n - 1) -> velocities at the nodes (..., n + 1)."""
    number = torch.arange(1, theta.shape[-1] + 1, dtype=theta.dtype, device=theta.device)
    sums = (theta / number).flip(-1).cumsum(-1).flip(-1)
    return F.pad(sums * number / (theta.shape[-1] + 1), (1, 1))


def warp(theta: Tensor, x: Tensor, which: Tensor | None = None) -> Tensor:
    """Where points go.

    Args:
        theta: (L, n - 1), the parameters of L maps.
        x: (P,) in [0, 1].
        which: (P,), the number of each point's map; None: all have the first.

    Returns:
        (P,), float64.
    """
    velocity, x = velocities(theta.double()), x.double()
    cells = theta.shape[-1] + 1
    passed = F.pad(_time_to(velocity[:, 1:], velocity[:, :-1], 1 / cells).cumsum(-1), (1, 0))  # (L, n + 1)
    v, slope, time = (
        velocity.flatten(),
        cells * F.pad(velocity.diff(dim=-1), (0, 1)).flatten(),
        passed.flatten(),
    )
    first = (
        torch.zeros_like(x, dtype=torch.long) if which is None else which * (cells + 1)
    )  # of a map's nodes

    cell = (x * cells).floor().long().clamp(0, cells - 1)
    share, here = x * cells - cell, first + cell
    start = v.gather(0, here) * (1 - share) + v.gather(0, here + 1) * share  # v(x), at 1 exactly 0
    right = start.detach() > 0
    node = cell + right.long()  # ahead
    reach = _time_to(v.gather(0, first + node), start, node / cells - x)
    leaves = reach.detach() < 1
    within = x + start * _growth(slope.gather(0, here).masked_fill(leaves, 0.0))

    direction = torch.where(right, 1.0, -1.0).double()
    goal = time.gather(0, first + node) + direction * (1 - reach)
    last = _last_node(passed.detach(), goal.detach(), right, first)
    left = (direction * (goal - time.gather(0, first + last))).masked_fill(~leaves, 0.0)  # time
    slope_there = slope.gather(0, first + (last - (~right).long()).clamp(0, cells - 1))
    beyond = last / cells + v.gather(0, first + last) * left * _growth(slope_there * left)
    return torch.where(leaves, beyond, within)


def _time_to(ahead: Tensor, start: Tensor, distance: Tensor | float) -> Tensor:
    """How long to where the velocity is `ahead`, from where it is `start`, in one cell; at most `NEVER`."""
    arrives = (ahead * start).detach() > 0
    start = start.where(arrives, 1.0)
    ratio = (ahead / start - 1).where(arrives, 0.0)
    small = ratio.detach().abs() < SMALL
    series = 1 - ratio / 2 + ratio.square() / 3
    safe = ratio.masked_fill(small, 1.0)
    time = (distance / start).abs() * torch.where(small, series, safe.log1p() / safe)
    return time.where(arrives, NEVER).clamp(max=NEVER)


def _growth(z: Tensor) -> Tensor:
    """E(z)."""
    z = z.clamp(max=LARGEST)
    small = z.detach().abs() < SMALL
    safe = z.masked_fill(small, 1.0)
    return torch.where(small, 1 + z / 2 + z.square() / 6, safe.expm1() / safe)


def _last_node(passed: Tensor, goal: Tensor, right: Tensor, first: Tensor) -> Tensor:
    """Of the nodes of a point's map the last that it passes before `goal`, from its side; (P,).

    Times of all maps (L, n + 1) are one increasing sequence, if each map's begin behind the last one's.
    """
    maps, nodes = passed.shape
    shift = NEVER * (nodes + 1)
    shifts = shift * torch.arange(maps, dtype=passed.dtype, device=passed.device)
    sequence = (passed + shifts[:, None]).flatten()
    goal = goal + shift * (first // nodes)
    found = (torch.searchsorted(sequence, goal, right=True) - 1).where(
        right, torch.searchsorted(sequence, goal)
    )
    return (found - first).clamp(0, nodes - 1)

"""The selective scan against the plain recurrence: values, gradients, extremes, counts."""

from typing import Any

import pytest
import torch
from mtlbench.methods.layers import scan_steps
from mtlbench.methods.layers.scan import MACS_PER_STATE, selective_scan
from mtlbench.methods.layers.scan_2d import along_ways, sum_of_ways
from mtlbench.methods.layers.scan_gradients import Gradients, gradients
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mtlbench.profiling import count_macs

SHAPES = [
    pytest.param((2, 3, 37, 5, 4), id="segments that the sequence does not fill"),
    pytest.param((1, 2, 200, 3, 16), id="segments that it fills"),
    pytest.param((1, 1, 70, 300, 16), id="one segment of several chunks"),
    pytest.param((2, 4, 1, 5, 4), id="one step"),
]


def recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """One step after the other, as the papers write it."""
    dt, found = F.softplus(delta), []
    h = u.new_zeros(*u.shape[:2], u.shape[3], a.shape[2])
    for t in range(u.shape[2]):
        decay = torch.exp(dt[:, :, t, :, None] * a)
        h = decay * h + (dt[:, :, t] * u[:, :, t]).unsqueeze(-1) * b[:, :, t, None]
        found.append((h * c[:, :, t, None]).sum(-1) + d * u[:, :, t])
    return torch.stack(found, 2)


def inputs(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64, *, step: float = -2.0, rate: float = 8.0
) -> list[Tensor]:
    """(B, K, L, D, N) -> what a scan takes; steps around softplus(`step`), decays up to `rate`."""
    batch, directions, length, dim, states = shape
    sequence = (batch, directions, length)
    generator = torch.Generator().manual_seed(0)
    sizes = [(*sequence, dim)] * 2 + [(directions, dim, states)] + [(*sequence, states)] * 2
    drawn = [torch.randn(size, generator=generator) for size in [*sizes, (directions, dim)]]
    u, delta, a, b, c, d = (x.to(dtype) for x in drawn)
    return [x.requires_grad_() for x in (u, delta * 2 + step, -rate * a.sigmoid(), b, c, d)]


def relative(found: Tensor, expected: Tensor) -> float:
    difference = (found - expected).detach().abs().max()
    return float(difference / expected.detach().abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("together", [2**12, 0], ids=["in segments", "in one"])
def test_values_and_gradients(shape: tuple[int, ...], together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scan_steps.STEP_SIZE, "cpu", together)
    taken = inputs(shape)
    found, expected = selective_scan(*taken), recurrence(*taken)
    assert relative(found, expected) < 1e-12
    weights = torch.randn(expected.shape, dtype=expected.dtype, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(
        torch.autograd.grad(found, taken, weights), torch.autograd.grad(expected, taken, weights), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(-2.0, 8.0), (40.0, 8.0), (-40.0, 8.0), (5.0, 1e4), (-5.0, 1e-6)],
    ids=["usual", "states forget at once", "no time passes", "decays underflow", "states forget nothing"],
)
def test_single_precision(step: float, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the recurrence in double precision; with and without segments."""
    taken = inputs((1, 2, 300, 6, 16), torch.float32, step=step, rate=rate)
    expected = recurrence(*(x.double() for x in taken))
    exact = torch.autograd.grad(expected.square().sum(), taken)
    for together in (0, 2**12):
        monkeypatch.setitem(scan_steps.STEP_SIZE, "cpu", together)
        found = selective_scan(*taken)
        assert relative(found.double(), expected) < 1e-5
        for ours, theirs in zip(torch.autograd.grad(found.square().sum(), taken), exact, strict=True):
            assert ours.isfinite().all()
            assert relative(ours, theirs) < 1e-4


def test_gradients_again_and_together() -> None:
    """Of one graph, as gradient balancers ask for them: one after the other, and in one batched pass."""
    taken = inputs((2, 2, 40, 5, 4))
    y = selective_scan(*taken)
    weights = torch.randn(3, *y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    one_by_one = [torch.autograd.grad(y, taken, w, retain_graph=True) for w in weights]
    again = torch.autograd.grad(y, taken, weights[0], retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(again, one_by_one[0], strict=True))
    together = torch.autograd.grad(y, taken, weights, is_grads_batched=True)
    for i, each in enumerate(one_by_one):
        assert all(torch.allclose(a[i], b) for a, b in zip(together, each, strict=True))


def test_some_gradients_only() -> None:
    """Where what steers the scan is frozen."""
    taken = inputs((1, 2, 20, 3, 4))
    frozen = [taken[0], *(x.detach() for x in taken[1:])]
    (found,) = torch.autograd.grad(selective_scan(*frozen).sum(), frozen[:1])
    (expected,) = torch.autograd.grad(recurrence(*frozen).sum(), frozen[:1])
    assert torch.allclose(found, expected)


def test_half_precision_inputs_are_scanned_in_single() -> None:
    taken = [x.detach() for x in inputs((1, 2, 200, 6, 16), torch.float32)]
    half = [x.bfloat16() for x in taken]
    with torch.autocast("cpu", torch.bfloat16):
        found = selective_scan(*half)
    assert found.dtype == torch.float32
    assert relative(found, recurrence(*(x.float() for x in half))) < 1e-5


class Sizes(TorchDispatchMode):
    """The largest tensor that anything makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for x in found if isinstance(found, tuple | list) else (found,):
            self.largest = max(self.largest, x.numel() if isinstance(x, Tensor) else 0)
        return found


@pytest.mark.parametrize("together", [2**15, 0], ids=["in segments", "in one"])
def test_only_some_steps_states_at_a_time(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is much larger than the sequence, which has one number where its states have 16."""
    monkeypatch.setitem(scan_steps.STEP_SIZE, "cpu", together)
    u, delta, a, b, c, _ = (x.detach() for x in inputs((1, 4, 2048, 96, 16), torch.float32))
    with Sizes() as sizes:
        seq = scan_steps.laid(u, F.softplus(delta), a, b, c)
        states = seq.room(len(seq.chunks()))
        out = [scan_steps.by_steps(torch.empty_like(x), seq.plan) for x in (u, u, b, c)]
        scan_steps.scan(seq, out[0], states)
        into = Gradients(*(x.unsqueeze(1) for x in out), a=torch.zeros(1, *seq.a.shape))
        gradients(seq, states, torch.zeros_like(out[0]).unsqueeze(1), into)
    assert seq.plan.segments == (5 if together else 1)
    assert u.numel() <= sizes.largest <= 1.25 * u.numel()


def test_what_is_kept_for_the_way_back() -> None:
    """The inputs, and of the states no more than u once again."""
    taken = inputs((1, 4, 2048, 96, 16), torch.float32)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        selective_scan(*taken)
    given = {x.data_ptr() for x in taken}
    others = {x.data_ptr(): x.numel() for x in kept if x.data_ptr() not in given}
    assert 0 < sum(others.values()) <= taken[0].numel()


def test_count() -> None:
    """As Mamba's authors count; without the numbers, too."""

    class Scan(torch.nn.Module):
        def __init__(self, device: str) -> None:
            super().__init__()
            self.taken = [x.detach().to(device) for x in inputs((1, 2, 20, 3, 4))]
            self.bias = torch.nn.Parameter(torch.zeros(1, device=device))

        def forward(self, images: Tensor) -> Tensor:
            return selective_scan(*self.taken)

    for device in ("cpu", "meta"):
        assert count_macs(Scan(device), (1, 1)) == MACS_PER_STATE * 20 * 2 * 3 * 4


def test_ways_through_a_map() -> None:
    """Rows, columns, and both backwards; what went four ways comes back to its position."""
    x = torch.arange(6.0).view(1, 2, 3, 1, 1)
    ways = along_ways(x.expand(-1, -1, -1, 4, -1))
    expected = [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    assert ways[0, :, :, 0].tolist() == expected
    assert torch.equal(sum_of_ways(ways, 2, 3), 4 * x[:, :, :, 0])
    each = along_ways(torch.arange(4.0).expand(1, 2, 3, 4).unsqueeze(-1))
    assert all((each[:, k] == k).all() for k in range(4))

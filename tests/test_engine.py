from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from mtlbench.balancers.equal import Equal
from mtlbench.balancers.fixed import Fixed
from mtlbench.balancers.pcgrad import PCGrad
from mtlbench.balancers.uncertainty import Uncertainty
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, Balancer, Step, Weighting
from mtlbench.engine import Diagnostics, make_engine
from mtlbench.graph import reached_leaves
from mtlbench.tasks import depth

NAMES = ("a", "b", "c")
TASKS: dict[str, Any] = {name: depth() for name in NAMES}


class Network(nn.Module):
    """A trunk, a part that a and b share, and a head for each of a, b, c."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 5)
        self.pair = nn.Linear(5, 5)
        self.heads = nn.ModuleDict({name: nn.Linear(5, 1) for name in NAMES})
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.trunk(x))
        pair = torch.tanh(self.pair(h))
        inputs = {"a": pair, "b": pair, "c": h}
        return {name: (self.heads[name](inputs[name]) - i).square().mean() for i, name in enumerate(NAMES)}


def make_step(active: tuple[int, ...] = (0, 1, 2)) -> Step:
    return Step(0, 0, torch.tensor(active), torch.ones(len(active)), torch.Generator().manual_seed(3))


def run(
    balancer: Balancer, network: Network, batches: list[Tensor], names: tuple[str, ...] = NAMES
) -> tuple[dict[str, Tensor], Diagnostics]:
    """Gradients by parameter name after one optimizer step's worth of micro-batches."""
    engine = make_engine(balancer, network, TASKS, Fabric(accelerator="cpu", devices=1))
    step = make_step(tuple(NAMES.index(name) for name in names))
    engine.begin(step)
    for batch in batches:
        losses = network(batch)
        engine.survey({name: [loss] for name, loss in losses.items()})
        engine.accumulate({name: losses[name] for name in names}, step, 1 / len(batches))
    diagnostics = engine.finish(step)
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}, diagnostics


def rows(network: Network, batch: Tensor, names: tuple[str, ...] = NAMES) -> dict[str, dict[str, Tensor]]:
    """Task -> parameter -> gradient, by plain backward passes."""
    found = {}
    for name in names:
        network.zero_grad()
        network(batch)[name].backward()
        found[name] = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    return found


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def batch() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def test_reached_leaves(network: Network, batch: Tensor) -> None:
    losses = network(batch)
    by_name = dict(network.named_parameters())
    reached = {n for n, p in by_name.items() if p in reached_leaves([losses["c"]])}
    assert reached == {"trunk.weight", "trunk.bias", "heads.c.weight", "heads.c.bias"}


def test_equal_is_the_gradient_of_the_sum(network: Network, batch: Tensor) -> None:
    expected = rows(network, batch)
    found, diagnostics = run(Equal(TASKS), network, [batch])
    for name, gradient in found.items():
        total = sum(expected[task][name] for task in NAMES if name in expected[task])
        assert torch.allclose(gradient, total, atol=1e-6), name
    assert diagnostics.weights == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert "unused.weight" not in found


def test_fixed_weights(network: Network, batch: Tensor) -> None:
    expected = rows(network, batch)
    found, _ = run(Fixed(TASKS, weights={"a": 3.0, "b": 0.5}), network, [batch])
    combined = (
        3 * expected["a"]["trunk.weight"]
        + 0.5 * expected["b"]["trunk.weight"]
        + expected["c"]["trunk.weight"]
    )
    assert torch.allclose(found["trunk.weight"], combined, atol=1e-6)
    assert torch.allclose(found["heads.a.weight"], 3 * expected["a"]["heads.a.weight"], atol=1e-6)


class Weighted(Weighting):
    """Known weights."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        self.gramian = gramian
        return torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)[step.active]


class Summed(Aggregation):
    """The sum of rows, the hard way."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        return rows.sum(0)


def test_weighting_combines_shared_parameters_only(network: Network, batch: Tensor) -> None:
    expected = rows(network, batch)
    balancer = Weighted(TASKS)
    found, diagnostics = run(balancer, network, [batch])
    weights = {"a": 2.0, "b": -1.0, "c": 0.5}
    for name in ("trunk.weight", "trunk.bias", "pair.weight", "pair.bias"):
        total = sum(weights[task] * expected[task][name] for task in NAMES if name in expected[task])
        assert torch.allclose(found[name], total, atol=1e-6), name
    for task in NAMES:  # a task's own parameters follow its own loss
        assert torch.allclose(
            found[f"heads.{task}.weight"], expected[task][f"heads.{task}.weight"], atol=1e-6
        )
    shared = [n for n in found if not n.startswith("heads")]
    flat = [
        torch.cat([expected[t].get(n, torch.zeros_like(found[n])).flatten() for n in shared]) for t in NAMES
    ]
    gramian = torch.stack(flat) @ torch.stack(flat).T
    assert torch.allclose(balancer.gramian, gramian.double(), rtol=1e-5)
    cosine = float(gramian[0, 1] / (gramian[0, 0] * gramian[1, 1]).sqrt())
    assert diagnostics.cosines["a", "b"] == pytest.approx(cosine, rel=1e-5)
    assert diagnostics.norms["a"] == pytest.approx(float(gramian[0, 0].sqrt()), rel=1e-5)
    assert diagnostics.weights == weights


@pytest.mark.parametrize("make", [Equal, Summed, Weighted, Uncertainty])
def test_micro_batches_give_the_gradient_of_the_whole_batch(
    make: Any, network: Network, batch: Tensor
) -> None:
    whole, _ = run(make(TASKS), network, [batch])
    network.zero_grad()
    parts, _ = run(make(TASKS), network, list(batch.split(2)))
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.allclose(whole[name], parts[name], atol=1e-6), name


def test_the_sum_of_rows_is_the_gradient_of_the_sum(network: Network, batch: Tensor) -> None:
    equal, _ = run(Equal(TASKS), network, [batch])
    network.zero_grad()
    summed, _ = run(Summed(TASKS), network, [batch])
    for name in equal:
        assert torch.allclose(equal[name], summed[name], atol=1e-6), name


@pytest.mark.parametrize("make", [Equal, Summed, Weighted, PCGrad, Uncertainty])
def test_tasks_without_labels_drop_out(make: Any, network: Network, batch: Tensor) -> None:
    found, diagnostics = run(make(TASKS), network, [batch], names=("a", "c"))
    assert "heads.b.weight" not in found
    assert set(found) >= {"heads.a.weight", "trunk.weight"}
    assert set(diagnostics.weights) <= {"a", "c"}


def test_a_frozen_trunk_leaves_nothing_to_balance(network: Network, batch: Tensor) -> None:
    for parameter in (*network.trunk.parameters(), *network.pair.parameters()):
        parameter.requires_grad_(False)
    found, _ = run(PCGrad(TASKS), network, [batch])
    assert set(found) == {f"heads.{name}.{part}" for name in NAMES for part in ("weight", "bias")}


def test_pcgrad_removes_conflict_of_two_tasks() -> None:
    g = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    weights = PCGrad({"a": depth(), "b": depth()}).weights(g @ g.T, make_step((0, 1)))
    combined = weights @ g
    assert combined.tolist() == pytest.approx([0.5, 1.5])
    assert (g @ combined >= 0).all()


def test_uncertainty_learns_its_weights_apart_from_the_network(network: Network, batch: Tensor) -> None:
    balancer = Uncertainty(TASKS, lr=0.1)
    _, diagnostics = run(balancer, network, [batch])
    assert diagnostics.weights == {name: pytest.approx(0.5) for name in NAMES}
    assert balancer.log_variance.abs().min() > 0.05
    assert balancer.log_variance.grad is None


def test_state_is_kept_by_task_name() -> None:
    first = Uncertainty(TASKS)
    with torch.no_grad():
        first.log_variance.copy_(torch.tensor([1.0, 2.0, 3.0]))
    other = Uncertainty({"c": depth(), "new": depth(), "a": depth()}, init=9.0)
    other.load_state_by_task(first.state_by_task())
    assert other.log_variance.tolist() == [3.0, 9.0, 1.0]

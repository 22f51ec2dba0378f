"""Whatever way the engine takes, it leaves the gradients that plain backward passes give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, Balancer, CrossWeighting, Step, Unsolvable, Weighting
from mtlbench.engine import make_engine
from mtlbench.engine.base import Engine
from mtlbench.tasks import depth

NAMES = ("a", "b", "c")
TASKS: dict[str, Any] = {name: depth() for name in NAMES}
W = {"a": 2.0, "b": -1.0, "c": 0.5}


class Backbone(nn.Module):
    """Two maps of different size; its late layers have many weights and few positions."""

    def __init__(self, *, calls: int = 1) -> None:
        super().__init__()
        self.calls = calls
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.late = nn.Sequential(
            nn.Conv2d(8, 40, 3, 2, 1), nn.Tanh(), nn.Conv2d(40, 40, 3, 1, 1, bias=False)
        )
        self.flat = nn.Linear(40, 40)

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.stem(x)
        second = self.late(first)
        return [first, self.flat(second.movedim(1, -1)).movedim(-1, 1)]


class Network(nn.Module):
    """Heads on two maps, a decoder layer that a and b share, and a weight that decoder and backbone share."""

    def __init__(self, *, tied: bool = False, twice: bool = False, shared: bool = True) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.mix = nn.Conv2d(40, 40, 1) if shared else None
        self.heads = nn.ModuleDict({name: nn.Conv2d(48, 1, 1) for name in NAMES})
        self.tied, self.twice = tied, twice

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, second = self.backbone(x)
        if self.twice:
            again = self.backbone(x.flip(-1))
            first, second = first + again[0].flip(-1), second + again[1].flip(-1)
        if self.tied:
            second = torch.tanh(self.backbone.flat(second.movedim(1, -1)).movedim(-1, 1))
        found = {}
        for i, name in enumerate(NAMES):
            deep = torch.tanh(self.mix(second)) if self.mix is not None and name != "c" else second
            deep = nn.functional.interpolate(deep, size=first.shape[-2:])
            output = self.heads[name](torch.cat([first, deep], 1))
            found[name] = (output - i).square().mean() * (1 + 10 * i)
        return found


class Fixed(Weighting):
    """Known weights; keeps the Gramian."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        self.gramian = gramian
        return torch.tensor([W[NAMES[i]] for i in step.active.tolist()], dtype=torch.float64)


class OwnWeighted(Fixed):
    """Weighs the tasks' own parameters, too."""

    def own_weights(self, step: Step) -> Tensor | None:
        return torch.tensor([3.0, 4.0, 5.0])[step.active]


class Squares(Aggregation):
    """Not linear in the rows."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        self.rows, self.features = rows.clone(), step.features
        return (rows * rows.abs()).sum(0)


class CrossFixed(CrossWeighting):
    """Keeps the inner products of two batches."""

    def weights(self, cross: Tensor, step: Step) -> Tensor:
        self.cross = cross
        return torch.tensor([W[NAMES[i]] for i in step.active.tolist()], dtype=torch.float64)


def make_network(**options: Any) -> Network:
    torch.manual_seed(0)
    return Network(**options).train()


def make_batch(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


def make_step(active: tuple[int, ...] = (0, 1, 2), index: int = 0) -> Step:
    generator = torch.Generator().manual_seed(3)
    return Step(index, 0, torch.tensor(active), torch.ones(len(active)), generator)


def make(balancer: Balancer, network: nn.Module, passes: str = "auto") -> Engine:
    return make_engine(balancer, network, TASKS, Fabric(accelerator="cpu", devices=1), passes=passes)


def run(
    engine: Engine, network: Network, batches: list[Tensor], names: tuple[str, ...] = NAMES, index: int = 0
) -> dict[str, Tensor]:
    """Gradients by parameter name after one optimizer step's worth of micro-batches."""
    network.zero_grad()
    step = make_step(tuple(NAMES.index(name) for name in names), index)
    engine.begin(step)
    size = len(batches) // engine.batches
    for i, batch in enumerate(batches):
        losses = network(batch)
        engine.survey({name: [loss] for name, loss in losses.items()})
        engine.accumulate({name: losses[name] for name in names}, step, 1 / size, i // size)
    engine.diagnostics = engine.finish(step)  # type: ignore[attr-defined]
    return gradients(network)


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def plain(
    network: Network, batches: list[Tensor], names: tuple[str, ...] = NAMES
) -> dict[str, dict[str, Tensor]]:
    """Task -> parameter -> gradient of the mean loss over the batches, by plain backward passes."""
    found = {}
    for name in names:
        network.zero_grad()
        for batch in batches:
            (network(batch)[name] / len(batches)).backward()
        found[name] = gradients(network)
    network.zero_grad()
    return found


def expected(
    rows: dict[str, dict[str, Tensor]], weights: dict[str, float], own: dict[str, float]
) -> dict[str, Tensor]:
    """Shared parameters get the weighted sum, own ones their own gradient."""
    total: dict[str, Tensor] = {}
    for task, found in rows.items():
        for name, gradient in found.items():
            factor = own[task] if name.startswith("heads.") else weights[task]
            total[name] = total.get(name, 0) + factor * gradient
    return total


def gramian(rows: dict[str, dict[str, Tensor]]) -> Tensor:
    shared = sorted({n for found in rows.values() for n in found if not n.startswith("heads.")})
    example = {n: g for found in rows.values() for n, g in found.items()}
    flat = torch.stack(
        [torch.cat([f.get(n, torch.zeros_like(example[n])).flatten() for n in shared]) for f in rows.values()]
    ).double()
    return flat @ flat.T


def assert_same(found: dict[str, Tensor], reference: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    assert found.keys() == reference.keys()
    for name, gradient in reference.items():
        error = float((found[name] - gradient).abs().max())
        assert error <= tolerance * float(gradient.abs().max()) + 1e-7, f"{name}: {error}"


def at_leaves(network: Network, batch: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The backbone's maps as independent leaves, and the losses that follow from them."""
    kept: list[Tensor] = []

    def cut(module: nn.Module, inputs: Any, outputs: list[Tensor]) -> list[Tensor]:
        kept.extend(o.detach().requires_grad_() for o in outputs)
        return kept

    handle = network.backbone.register_forward_hook(cut)
    losses = network(batch)
    handle.remove()
    return kept, losses


ONE = dict.fromkeys(NAMES, 1.0)
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"shared": False},
    "shared decoder": {},
    "tied weights": {"tied": True},
    "backbone called twice": {"twice": True},
}
networks = pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
passes = pytest.mark.parametrize("how", ["sequential", "batched", "auto"])
places = pytest.mark.parametrize("at", ["parameters", "representation", "last_layer"])


@networks
@passes
def test_exact_gradients(options: dict[str, Any], how: str) -> None:
    network, batch = make_network(**options), make_batch()
    rows = plain(network, [batch])
    engine = make(Fixed(TASKS), network, how)
    for _ in range(2):
        found = run(engine, network, [batch])
        assert_same(found, expected(rows, W, ONE))
        products = engine.balancer.gramian
        assert torch.allclose(products, gramian(rows), rtol=1e-4, atol=1e-5 * float(products.max()))


def test_late_layers_are_implied_where_they_are_used_plainly() -> None:
    for options, count in (({}, 2), ({"tied": True}, 2), ({"twice": True}, 0)):
        network = make_network(**options)
        engine = make(Fixed(TASKS), network)
        run(engine, network, [make_batch(2)])
        assert engine.record().implied_layers == count, options


@networks
@places
def test_weights_hold_for_all_that_is_shared(options: dict[str, Any], at: Any) -> None:
    network, batch = make_network(**options), make_batch()
    engine = make(Fixed(TASKS, at=at), network)
    assert_same(run(engine, network, [batch]), expected(plain(network, [batch]), W, ONE))


def test_gramian_at_the_representation() -> None:
    network, batch = make_network(), make_batch()
    engine = make(Fixed(TASKS, at="representation"), network)
    run(engine, network, [batch])
    kept, losses = at_leaves(network, batch)
    flat = torch.stack(
        [
            torch.cat([g.flatten() for g in torch.autograd.grad(losses[n], kept, retain_graph=True)])
            for n in NAMES
        ]
    ).double()
    assert torch.allclose(engine.balancer.gramian, flat @ flat.T, rtol=1e-4)


def test_gramian_at_the_last_layer() -> None:
    network, batch = make_network(), make_batch()
    rows = plain(network, [batch])
    engine = make(Fixed(TASKS, at="last_layer"), network)
    run(engine, network, [batch])
    flat = torch.stack([rows[n]["backbone.flat.weight"].flatten() for n in NAMES]).double()
    assert torch.allclose(engine.balancer.gramian, flat @ flat.T, rtol=1e-4)


@places
def test_micro_batches_are_one_batch(at: Any) -> None:
    network, batches = make_network(), list(make_batch(8).split(4))
    engine = make(Fixed(TASKS, at=at), network)
    assert_same(run(engine, network, batches), expected(plain(network, batches), W, ONE))
    if at == "parameters":
        assert torch.allclose(engine.balancer.gramian, gramian(plain(network, batches)), rtol=1e-4)
    if at == "representation":
        network.backbone.stem[1].eval()  # batch statistics would differ
        run(engine, network, batches)
        parts = engine.balancer.gramian
        run(engine, network, [torch.cat(batches)])
        assert torch.allclose(parts, engine.balancer.gramian, rtol=1e-4)


@places
def test_tasks_without_labels_drop_out_and_come_back(at: Any) -> None:
    network, batch = make_network(), make_batch()
    rows = plain(network, [batch])
    engine = make(Fixed(TASKS, at=at), network)
    for names in (("a", "c"), NAMES, ("b",), ("a", "b", "c"), ("c", "b")[::-1]):
        found = run(engine, network, [batch], names)
        assert_same(found, expected({n: rows[n] for n in names}, W, ONE))
        assert set(engine.diagnostics.weights) == set(names)


@places
def test_own_parameters_follow_own_weights(at: Any) -> None:
    network, batch = make_network(), make_batch()
    engine = make(OwnWeighted(TASKS, at=at), network)
    own = {"a": 3.0, "b": 4.0, "c": 5.0}
    assert_same(run(engine, network, [batch]), expected(plain(network, [batch]), W, own))


@places
def test_kept_weights_are_used_between_two_solves(at: Any) -> None:
    network, batch = make_network(), make_batch()
    rows = plain(network, [batch])
    balancer = OwnWeighted(TASKS, at=at, every=3)
    engine = make(balancer, network)
    asked = []
    balancer.weights = lambda gramian, step: (
        asked.append(step.index) or Fixed.weights(balancer, gramian, step)
    )  # type: ignore[method-assign]
    for index in range(7):
        found = run(engine, network, [batch], index=index)
        assert_same(found, expected(rows, W, {"a": 3.0, "b": 4.0, "c": 5.0}))
    assert asked == [0, 3, 6]
    resumed = make(balancer, network)
    resumed.load_state(engine.state())
    assert_same(run(resumed, network, [batch], index=7), found)
    assert asked == [0, 3, 6]


def test_a_task_that_comes_between_two_solves_is_solved_for() -> None:
    network, batch = make_network(), make_batch()
    engine = make(Fixed(TASKS, every=5), network)
    run(engine, network, [batch], ("a", "b"), index=0)
    found = run(engine, network, [batch], NAMES, index=1)
    assert_same(found, expected(plain(network, [batch]), W, ONE))


@pytest.mark.parametrize("micro", [1, 2])
def test_rows_are_aggregated_at_the_parameters(micro: int) -> None:
    network, batches = make_network(), list(make_batch(8).split(8 // micro))
    rows = plain(network, batches)
    found = run(make(Squares(TASKS), network), network, batches)
    for name in ("backbone.stem.0.weight", "mix.weight", "backbone.flat.bias"):
        total = sum(r[name] * r[name].abs() for r in rows.values() if name in r)
        assert torch.allclose(found[name], total, rtol=1e-3, atol=1e-6), name
    assert torch.allclose(found["heads.a.weight"], rows["a"]["heads.a.weight"], rtol=1e-4)


@pytest.mark.parametrize("micro", [1, 2])
def test_rows_are_aggregated_at_the_representation(micro: int) -> None:
    network = make_network()
    network.backbone.stem[1].eval()
    batches = list(make_batch(8).split(8 // micro))
    rows = plain(network, batches)
    balancer = Squares(TASKS, at="representation")
    found = run(make(balancer, network), network, batches)
    kept, losses = at_leaves(network, torch.cat(batches))
    at_maps = [torch.autograd.grad(losses[n], kept, retain_graph=True) for n in NAMES]
    assert [f.shape for f in balancer.features] == [k.shape for k in kept]
    assert torch.allclose(balancer.features[1], kept[1], atol=1e-5)
    joined = torch.stack([torch.cat([g.flatten() for g in gs]) for gs in at_maps])
    assert torch.allclose(balancer.rows, joined, rtol=1e-3, atol=1e-7)
    below = [p for n, p in network.backbone.named_parameters()]
    cotangents = [sum(gs[i] * gs[i].abs() for gs in at_maps) for i in range(2)]
    reference = torch.autograd.grad(network.backbone(torch.cat(batches)), below, cotangents)
    for (name, _), gradient in zip(network.backbone.named_parameters(), reference, strict=True):
        assert torch.allclose(found[f"backbone.{name}"], gradient, rtol=1e-3, atol=1e-7), name
    shared = rows["a"]["mix.weight"] + rows["b"]["mix.weight"]
    assert torch.allclose(found["mix.weight"], shared, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("micro", [1, 2])
def test_three_independent_batches(micro: int) -> None:
    network = make_network()
    batches = [make_batch(4, seed) for seed in range(3 * micro)]
    balancer = CrossFixed(TASKS)
    found = run(make(balancer, network), network, batches)
    rows = [plain(network, batches[i * micro : (i + 1) * micro]) for i in range(3)]
    shared = [n for n in rows[0]["a"] if not n.startswith("heads.")]
    flat = [
        torch.stack(
            [torch.cat([r[t].get(n, 0 * r["a"][n]).flatten() for n in shared]) for t in NAMES]
        ).double()
        for r in rows[:2]
    ]
    assert torch.allclose(balancer.cross, flat[0] @ flat[1].T, rtol=1e-3, atol=1e-5)
    third = expected(rows[2], W, ONE)
    for name in shared:
        assert torch.allclose(found[name], third[name], rtol=1e-3, atol=1e-6), name
    mean = sum(r["b"]["heads.b.weight"] for r in rows) / 3
    assert torch.allclose(found["heads.b.weight"], mean, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(("at", "weights"), [("parameters", {**W, "c": 1.0}), ("representation", ONE)])
def test_a_frozen_trunk(at: Any, weights: dict[str, float]) -> None:
    """At the parameters there is the shared decoder layer, which c doesn't reach; at the maps nothing."""
    network, batch = make_network(), make_batch()
    network.backbone.requires_grad_(False)
    engine = make(Fixed(TASKS, at=at), network)
    found = run(engine, network, [batch])
    assert_same(found, expected(plain(network, [batch]), weights, ONE))
    assert not any(name.startswith("backbone") for name in found)
    assert engine.diagnostics.weights == weights


@places
def test_nothing_shared_at_all(at: Any, caplog: pytest.LogCaptureFixture) -> None:
    network, batch = make_network(shared=False), make_batch()
    network.backbone.requires_grad_(False)
    found = run(make(Fixed(TASKS, at=at), network), network, [batch])
    assert_same(found, expected(plain(network, [batch]), W, ONE))
    assert "share" in caplog.text


def test_a_partly_frozen_trunk() -> None:
    for at in ("parameters", "representation", "last_layer"):
        network, batch = make_network(), make_batch()
        network.backbone.stem.requires_grad_(False)
        network.backbone.late[0].bias.requires_grad_(False)
        found = run(make(Fixed(TASKS, at=at), network), network, [batch])
        assert_same(found, expected(plain(network, [batch]), W, ONE))


@places
def test_a_factor_on_the_losses_stays_on_the_gradients_only(at: Any) -> None:
    network, batch = make_network(), make_batch()
    engine = make(Fixed(TASKS, at=at), network)
    reference = run(engine, network, [batch])
    unscaled = engine.balancer.gramian
    engine.scale = 1024.0
    found = run(engine, network, [batch])
    assert_same({n: g / 1024 for n, g in found.items()}, reference)
    assert torch.allclose(engine.balancer.gramian, unscaled, rtol=1e-4)


def test_an_overflow_is_put_through_and_nothing_is_learnt() -> None:
    class Learning(Fixed):
        observed = 0

        def observe(self, step: Step) -> None:
            self.observed += 1

    network, batch = make_network(), make_batch()
    balancer = Learning(TASKS)
    engine = make(balancer, network)
    run(engine, network, [batch])
    engine.scale = 1e38
    found = run(engine, network, [batch * 100])
    assert engine.overflowed
    assert not all(g.isfinite().all() for g in found.values())
    assert (balancer.observed, engine.failures) == (1, 0)


def test_failures_are_counted_and_the_last_weights_kept() -> None:
    class Sometimes(Fixed):
        def weights(self, gramian: Tensor, step: Step) -> Tensor:
            if step.index in (0, 2):
                raise Unsolvable("no solution")
            return super().weights(gramian, step)

    network, batch = make_network(), make_batch()
    engine = make(Sometimes(TASKS), network)
    run(engine, network, [batch], index=0)
    assert engine.diagnostics.weights == ONE
    run(engine, network, [batch], index=1)
    run(engine, network, [batch], index=2)
    assert engine.diagnostics.weights == W
    assert engine.failures == engine.record().failures == 2


def test_evaluation_sees_an_uncut_network() -> None:
    network, batch = make_network(), make_batch()
    engine = make(Fixed(TASKS), network)
    network.eval()
    assert network(batch)["a"].requires_grad
    network(batch)["a"].backward()
    assert network.backbone.flat.weight.grad is not None
    network.train()
    engine.close()
    network.zero_grad()
    network(batch)["a"].backward()
    assert network.backbone.flat.weight.grad is not None


def test_memory_is_reported() -> None:
    network, batch = make_network(shared=False), make_batch()
    engine = make(Squares(TASKS), network)
    run(engine, network, [batch])
    shared = sum(p.numel() for p in network.backbone.parameters())
    record = engine.record()
    assert record.shared_parameters == shared
    assert record.gradient_memory_mb == pytest.approx(3 * shared * 4 / 2**20, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@places
def test_half_precision_is_near_full_precision(dtype: torch.dtype, at: Any) -> None:
    network, batch = make_network(), make_batch()
    reference = expected(plain(network, [batch]), W, ONE)
    engine = make(Fixed(TASKS, at=at), network)
    with torch.autocast("cpu", dtype=dtype):
        found = run(engine, network, [batch])
    for name, gradient in reference.items():
        error = float((found[name] - gradient).norm() / gradient.norm())
        assert error < 0.1, f"{name}: {error}"

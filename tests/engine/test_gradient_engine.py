"""Whatever way the engine takes, it leaves the gradients that plain backward passes give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_networks import (
    NAMES,
    ONE,
    TASKS,
    CrossFixed,
    Fixed,
    OwnWeighted,
    Squares,
    W,
    assert_same,
    at_leaves,
    expected,
    gramian,
    make,
    make_batch,
    make_network,
    plain,
    run,
)
from torch import Tensor

from mtlbench.balancing import Step, Unsolvable

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

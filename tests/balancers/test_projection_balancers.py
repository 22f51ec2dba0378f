"""Balancers that project, or solve a quadratic problem: what solutions must obey, whatever the gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden_balancers import make_step, tasks
from golden_balancers_projections import check_cagrad, objective, stationary
from mtlbench.balancers.cagrad import CAGrad
from mtlbench.balancers.dualproj import DualProj
from mtlbench.balancers.gradvac import GradVac, vaccinate
from mtlbench.balancers.mgda import MGDA
from mtlbench.balancers.mgda_ub import MGDAUB
from mtlbench.balancers.pcgrad import PCGrad, project
from mtlbench.balancers.solvers import ball, supports
from mtlbench.balancers.solvers.cone import lower_bounded
from mtlbench.balancers.solvers.simplex import min_norm
from mtlbench.balancers.upgrad import UPGrad
from scipy.optimize import minimize, nnls
from torch import Tensor

from mtlbench.balancing import Step, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.solving import solve
from mtlbench.testing import balancer_tasks

SCALES = (1e-15, 1.0, 1e15)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def families(count: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Task gradients (T, D) of many kinds."""
    rows = random(seed, count, count + 3)
    yield "random", rows
    yield "conflicting", rows - 1.1 * rows.mean(0)
    yield "of all scales", rows * torch.logspace(-8, 8, count, dtype=torch.float64)[:, None]
    yield "of rank 2", random(seed + 1, count, 2) @ rows[:2]
    yield "twins", rows[torch.arange(count) // 2]
    yield "nearly parallel", rows[:1] + 1e-6 * rows
    yield "opposite", torch.cat([rows[:1], -2 * rows[:1], rows[2:]])
    yield "nearly opposite", torch.cat([rows[:1], -rows[:1] + 1e-4 * rows[1:2], rows[2:]])


CASES = [
    pytest.param(rows, id=f"{count} tasks, {name}")
    for count in (2, 3, 5, 7)
    for name, rows in families(count, seed=10 * count)
]


def ask(balancer: type[Weighting], rows: Tensor, losses: Tensor | None = None, **options: Any) -> Tensor:
    step = make_step(torch.ones(len(rows), dtype=torch.float64) if losses is None else losses)
    return balancer(tasks(len(rows)), **options).weights(rows @ rows.T, step)


def pull(weights: Tensor, rows: Tensor) -> float:
    """The size of what is added up, which rounding errors are in proportion to."""
    return float((weights.abs() * rows.norm(dim=1)).sum())


@pytest.mark.parametrize("rows", CASES)
@pytest.mark.parametrize("scale", SCALES)
def test_cagrad_is_optimal_or_all_harm_is_even(rows: Tensor, scale: float) -> None:
    rows = rows * scale
    for c in (0.2, 0.4, 1.0, 1.5):
        try:
            weights = ask(CAGrad, rows, c=c, rescale=0)
        except Unsolvable:
            assert stationary(rows @ rows.T), f"c = {c}: there is a direction that descends all tasks"
        else:
            check_cagrad(rows @ rows.T, weights, c)


def test_cagrad_where_no_task_gains() -> None:
    """Opposite gradients leave a best update, if the ball is too small for one that harms none."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    weights = ask(CAGrad, rows, c=0.2, rescale=0)
    check_cagrad(rows @ rows.T, weights, 0.2)
    assert (rows @ (weights @ rows)).min() < 0
    with pytest.raises(Unsolvable, match="oppose each other"):
        ask(CAGrad, rows, c=0.95)


def test_cagrad_beats_every_point_of_a_grid_and_a_general_solver() -> None:
    rows = random(3, 3, 6) * torch.tensor([[1.0], [3.0], [0.3]], dtype=torch.float64)
    gramian = rows @ rows.T
    point = check_cagrad(gramian, ask(CAGrad, rows, c=0.5, rescale=0), 0.5)
    best = objective(gramian, point, 0.5)
    steps = torch.linspace(0, 1, 101, dtype=torch.float64)
    grid = [torch.stack([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1]
    nearest = min(objective(gramian, p, 0.5) for p in grid)
    assert best <= nearest <= best + 1e-2 * float(gramian.mean())
    sum_is_one = {"type": "eq", "fun": lambda x: x.sum() - 1}
    found = minimize(
        lambda x: objective(gramian, torch.from_numpy(x), 0.5),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints=sum_is_one,
        tol=1e-12,
    )
    np.testing.assert_allclose(point, found.x, atol=1e-4)


def test_cagrad_without_room_is_the_average() -> None:
    rows = random(4, 4, 6)
    torch.testing.assert_close(ask(CAGrad, rows, c=0.0), torch.full((4,), 0.25, dtype=torch.float64))


def test_cagrad_rescales_the_same_update() -> None:
    rows = random(5, 3, 6)
    plain, halfway, full = (ask(CAGrad, rows, c=0.5, rescale=r) for r in (0, 1, 2))
    torch.testing.assert_close(plain / 1.25, halfway)
    torch.testing.assert_close(plain / 1.5, full)


@pytest.mark.parametrize("rows", CASES)
@pytest.mark.parametrize("scale", SCALES)
def test_mgda_finds_the_point_of_least_norm(rows: Tensor, scale: float) -> None:
    """D . g_i >= |d|^2 for all i."""
    rows = rows * scale
    losses = torch.linspace(0.01, 7, len(rows), dtype=torch.float64)
    for normalize in ("none", "l2", "loss", "loss+"):
        weights = ask(MGDA, rows, losses, normalize=normalize)
        factors = {"l2": 1 / rows.norm(dim=1), "loss": 1 / losses, "loss+": 1 / losses / rows.norm(dim=1)}
        normalized = rows * factors.get(normalize, torch.ones(len(rows)))[:, None]
        shares = weights * rows.norm(dim=1) / normalized.norm(dim=1)
        assert abs(float(shares.sum()) - 1) <= 1e-12
        assert (shares >= 0).all()
        found = shares @ normalized
        short = (found @ found - normalized @ found) / normalized.norm(dim=1)
        assert (short <= 1e-9 * found.norm() + 1e-13 * pull(shares, normalized)).all(), normalize


@pytest.mark.parametrize("count", [3, 5, 12])
def test_mgda_agrees_with_least_squares(count: int) -> None:
    rows = random(count, count, 2 * count) + 0.3
    heavy = np.vstack([rows.T.numpy(), np.ones((1, count))])
    expected = nnls(heavy, np.r_[np.zeros(2 * count), 1.0])[0]
    np.testing.assert_allclose(min_norm(rows @ rows.T), expected / expected.sum(), atol=1e-10)


def test_mgda_reaches_vertices() -> None:
    rows = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert ask(MGDA, rows).tolist() == [1.0, 0.0]


def test_mgda_at_the_representation_weighs_raw_gradients() -> None:
    rows, losses = random(6, 3, 5), torch.tensor([0.1, 2.0, 5.0], dtype=torch.float64)
    bound = MGDAUB(tasks(3), normalize="loss+")
    assert (bound.at, bound.combine) == ("representation", "raw")
    weights = bound.weights(rows @ rows.T, make_step(losses))
    assert abs(float(weights.sum()) - 1) <= 1e-12
    divided = ask(MGDA, rows, losses, normalize="loss+")
    torch.testing.assert_close(divided * losses * rows.norm(dim=1), weights)


def test_mgda_needs_losses_to_divide_by() -> None:
    losses = torch.tensor([1.0, -0.5], dtype=torch.float64)
    with pytest.raises(Unsolvable, match="losses > 0"):
        ask(MGDA, random(1, 2, 4), losses, normalize="loss")


@pytest.mark.parametrize("rows", CASES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("balancer", [UPGrad, DualProj])
def test_dual_cone(balancer: type[Weighting], rows: Tensor, scale: float) -> None:
    """No task is harmed; with reg_eps, by no more than it allows."""
    rows = rows * scale
    for reg in (0.0, 1e-4):
        weights = ask(balancer, rows, norm_eps=0.0, reg_eps=reg)
        assert (weights >= 1 / len(rows) - 1e-15).all()
        allowed = reg * rows.norm() ** 2 * weights
        gains = rows @ (weights @ rows)
        assert (gains + allowed >= -1e-9 * rows.norm(dim=1) * pull(weights, rows)).all()


@pytest.mark.parametrize("rows", CASES)
def test_cone_conditions_of_optimality(rows: Tensor) -> None:
    """V - l, the slack (K v)_i, and not both above zero."""
    gramian = rows @ rows.T
    bounds = random(8, len(rows), 4).abs()
    found = lower_bounded(gramian, bounds)
    raised, slack = found - bounds, gramian @ found
    norms = rows.norm(dim=1)[:, None]
    assert (raised >= 0).all()
    size = (found * norms).sum(0)
    assert (slack / norms >= -1e-9 * size).all()
    assert (torch.minimum(raised * norms, slack / norms) <= 1e-9 * size).all()


@pytest.mark.parametrize("count", [3, 6, 13])
def test_cone_agrees_with_least_squares(count: int) -> None:
    rows, bounds = random(20 + count, count, 2 * count), torch.ones(count, 1, dtype=torch.float64)
    expected = nnls(rows.T.numpy(), -(rows.T @ bounds[:, 0]).numpy())[0]
    np.testing.assert_allclose(lower_bounded(rows @ rows.T, bounds)[:, 0] - 1, expected, atol=1e-10)


def test_without_conflict_the_mean_is_kept() -> None:
    rows = random(9, 4, 6).abs()
    for balancer in (UPGrad, DualProj):
        torch.testing.assert_close(ask(balancer, rows), torch.full((4,), 0.25, dtype=torch.float64))


def test_preferences_count_by_their_ratios() -> None:
    rows = random(9, 3, 6).abs()
    weights = ask(UPGrad, rows, preference={"task1": 2.0})
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64))
    balancer = DualProj(tasks(3), preference={"task1": 2.0})
    step = Step(0, 0, torch.tensor([1, 2]), torch.ones(2).double(), torch.Generator())
    part = balancer.weights((rows @ rows.T)[1:, 1:], step)
    torch.testing.assert_close(part, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))


def test_small_gradients_keep_their_mean_unless_asked_otherwise() -> None:
    rows = torch.tensor([[1.0, 0.0], [-0.9, 0.5]], dtype=torch.float64) * 1e-4
    assert ask(UPGrad, rows).tolist() == [0.5, 0.5]
    torch.testing.assert_close(ask(UPGrad, rows, norm_eps=0.0), ask(UPGrad, rows * 1e6))


def test_pcgrad_of_two_tasks() -> None:
    for seed in range(20):
        rows = random(seed, 2, 3)
        gramian = rows @ rows.T
        conflict = min(0.0, float(gramian[0, 1]))
        expected = 1 - conflict / gramian.diagonal()
        weights = ask(PCGrad, rows)
        torch.testing.assert_close(weights, expected)
        assert (rows @ (weights @ rows) >= -1e-12).all()


def test_pcgrad_visits_itself_if_asked() -> None:
    """In a plane, two projections turn a gradient against itself: it is then projected out."""
    angles = torch.tensor([0.0, 100.0, 184.0], dtype=torch.float64).deg2rad()
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    orders = torch.tensor([[1, 2, 0]] * 3)
    plain, with_self = (project(rows @ rows.T, orders, self_visit=s) for s in (False, True))
    for own, weights in ((False, plain), (True, with_self)):
        expected = torch.zeros(2, dtype=torch.float64)
        for i in range(3):
            part = rows[i].clone()
            for j in (1, 2, 0):
                if (own or i != j) and part @ rows[j] < 0:
                    part -= (part @ rows[j]) * rows[j]
            expected += part
        torch.testing.assert_close(weights @ rows, expected)
    assert not torch.allclose(plain @ rows, with_self @ rows)


def visit(rows: Tensor, targets: Tensor, beta: float = 0.5) -> tuple[Tensor, Tensor]:
    orders = torch.arange(len(rows)).repeat(len(rows), 1)
    return vaccinate(rows @ rows.T, targets, orders, beta)


def test_gradvac_reaches_its_targets() -> None:
    rows = torch.tensor([[2.0, 0.0], [-1.0, 3.0]], dtype=torch.float64)
    targets = torch.tensor([[0.0, 0.4], [-1.0, 0.0]], dtype=torch.float64)
    weights, after = visit(rows, targets)
    corrected = weights @ rows - rows[1]  # the second gradient is content
    cosine = float(torch.cosine_similarity(corrected, rows[1], dim=0))
    assert abs(cosine - 0.4) <= 1e-12
    before = float(torch.cosine_similarity(rows[0], rows[1], dim=0))
    expected = torch.tensor([[0.0, (0.4 + before) / 2], [(before - 1) / 2, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(after, expected)


def test_gradvac_first_step_is_pcgrad() -> None:
    rows = random(11, 5, 7)
    orders = torch.stack([torch.randperm(5) for _ in range(5)])
    weights, _ = vaccinate(rows @ rows.T, torch.zeros(5, 5, dtype=torch.float64), orders, 0.5)
    torch.testing.assert_close(weights, project(rows @ rows.T, orders))


@pytest.mark.parametrize("rows", CASES)
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_gradvac_stays_finite(rows: Tensor, beta: float) -> None:
    """Also when targets are 1, as with twins, and opposite gradients follow."""
    targets = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for flipped in (1, 1, -1, 1, -1):
        now = rows.clone()
        now[0] *= flipped
        weights, targets = visit(now, targets, beta)
        assert weights.isfinite().all()
        assert (targets.abs() <= 1).all()


def test_gradvac_keeps_targets_of_pairs() -> None:
    """A saved state serves other tasks in another order: pairs that both know go on, others begin."""
    known, other = balancer_tasks(3), balancer_tasks(5)
    first = GradVac(known)
    first.targets.copy_(torch.arange(9.0).view(3, 3) / 10)
    second = GradVac(dict(reversed(other.items())))
    second.load_state_by_task(first.state_by_task())
    names = list(known)
    for i, a in enumerate(second.task_names):
        for j, b in enumerate(second.task_names):
            both = a in known and b in known
            expected = first.targets[names.index(a), names.index(b)] if both else 0.0
            assert second.targets[i, j] == expected


def test_gradvac_leaves_absent_tasks_alone() -> None:
    balancer, rows = GradVac(tasks(4)), random(12, 2, 3)
    step = Step(0, 0, torch.tensor([3, 1]), torch.ones(2), torch.Generator())
    balancer.weights(rows @ rows.T, step)
    assert balancer.targets.nonzero().tolist() == [[1, 3], [3, 1]]


SOLVED = [(CAGrad, {}), (MGDA, {}), (MGDA, {"normalize": "l2"}), (UPGrad, {}), (DualProj, {})]


@pytest.mark.parametrize(("balancer", "options"), SOLVED, ids=str)
def test_order_of_tasks_does_not_matter(balancer: type[Weighting], options: dict[str, Any]) -> None:
    for seed in range(5):
        rows, order = random(seed, 5, 8), torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(
            ask(balancer, rows[order], **options), ask(balancer, rows, **options)[order]
        )


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 1e15])
@pytest.mark.parametrize("balancer", ["pcgrad", "gradvac", "cagrad", "mgda", "upgrad", "dualproj"])
def test_weights_do_not_depend_on_the_scale(balancer: str, scale: float) -> None:
    options = {"norm_eps": 0.0} if balancer in ("upgrad", "dualproj") else {}
    rows, kind = random(13, 5, 8), registry.load("balancer", balancer)
    torch.testing.assert_close(ask(kind, rows * scale, **options), ask(kind, rows, **options))


@pytest.mark.parametrize("balancer", ["pcgrad", "gradvac", "cagrad", "mgda", "mgda_ub", "upgrad", "dualproj"])
def test_a_task_without_gradient_changes_nothing_for_others(balancer: str) -> None:
    rows, kind = random(14, 4, 8), registry.load("balancer", balancer)
    rows[2] = 0
    there = torch.tensor([0, 1, 3])
    step = make_step(torch.ones(4, dtype=torch.float64))
    weights = solve(kind(tasks(4)), rows @ rows.T, step)
    alone = solve(kind(tasks(3)), rows[there] @ rows[there].T, make_step(step.losses[there]))
    torch.testing.assert_close(weights[there], alone)
    assert weights[2] == 1


@pytest.mark.parametrize("balancer", [CAGrad, MGDA, UPGrad, DualProj])
@pytest.mark.parametrize("count", [2, 5, 8])
def test_both_ways_to_find_the_support_agree(
    balancer: type[Weighting], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [random(seed, count, count + 1) - 0.2 for seed in range(10)]
    tried = [ask(balancer, rows) for rows in cases]
    monkeypatch.setattr(supports, "LIMIT", 0)
    monkeypatch.setattr(ball, "LIMIT", 0)
    for rows, expected in zip(cases, tried, strict=True):
        torch.testing.assert_close(ask(balancer, rows), expected, rtol=1e-8, atol=1e-10)


def test_many_tasks() -> None:
    rows = random(15, 25, 60) - 0.05
    check_cagrad(rows @ rows.T, ask(CAGrad, rows, rescale=0), 0.4)
    gains = rows @ (ask(UPGrad, rows, reg_eps=0.0) @ rows)
    assert (gains >= -1e-10).all()


def test_a_problem_without_minimum_is_unsolvable(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    for limit in (10, 0):
        monkeypatch.setattr(supports, "LIMIT", limit)
        with pytest.raises(Unsolvable):
            supports.nonnegative(matrix, torch.ones(2, 1, dtype=torch.float64))


@pytest.mark.parametrize(
    ("balancer", "options", "message"),
    [
        (GradVac, {"beta": 1.5}, "`beta` of balancer `gradvac` must be between 0 and 1, got 1.5"),
        (CAGrad, {"c": -0.1}, "`c` of balancer `cagrad` must be >= 0"),
        (CAGrad, {"rescale": 3}, "`rescale` of balancer `cagrad` must be 0, 1 or 2, got 3"),
        (MGDA, {"normalize": "l1"}, "`normalize` of balancer `mgda` must be one of none, l2, loss, loss+"),
        (MGDAUB, {"normalize": "l1"}, "`normalize` of balancer `mgda_ub` must be one of"),
        (MGDA, {"combine": "both"}, "`combine` of balancer `mgda` must be one of normalized, raw"),
        (UPGrad, {"reg_eps": -1.0}, "`reg_eps` of balancer `upgrad` must be >= 0"),
        (DualProj, {"norm_eps": -1.0}, "`norm_eps` of balancer `dualproj` must be >= 0"),
        (
            DualProj,
            {"preference": {"depht": 1.0}},
            "`preference` of balancer `dualproj`.*did you mean `depth`",
        ),
        (
            UPGrad,
            {"preference": {"depth": 0.0}},
            "`preference` of balancer `upgrad` must be > 0, got 0.0 for",
        ),
    ],
)
def test_wrong_options_are_named(balancer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        balancer(balancer_tasks(), **options)

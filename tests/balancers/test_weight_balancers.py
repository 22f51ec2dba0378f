"""What balancers by Gramian promise: IMTL, Nash-MTL, FairGrad, Aligned-MTL, ConFIG and GradNorm."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_balancers import make_step, tasks
from gradient_rows import ask, close, losses, random_rows, unit, update
from mtlbench.balancers.aligned_mtl import AlignedMTL
from mtlbench.balancers.config import ConFIG
from mtlbench.balancers.fairgrad import FairGrad
from mtlbench.balancers.gradnorm import GradNorm
from mtlbench.balancers.imtl import IMTL
from mtlbench.balancers.imtl_g import IMTLG
from mtlbench.balancers.nash_mtl import NashMTL
from torch import Tensor

from mtlbench.balancing import Balancer, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.solving import solve

ALL: list[tuple[type[Weighting], dict[str, Any]]] = [
    (IMTLG, {}),
    (IMTL, {}),
    (NashMTL, {"max_norm": 0.0}),
    (NashMTL, {}),
    (FairGrad, {"alpha": 2.0}),
    (FairGrad, {"alpha": 0.5}),
    (AlignedMTL, {}),
    (AlignedMTL, {"scale": "median", "reduction": "mean"}),
    (ConFIG, {}),
    (GradNorm, {}),
]


every_balancer = pytest.mark.parametrize(("balancer", "options"), ALL, ids=str)


COUNTS = (1, 2, 3, 5, 10, 12)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_imtl_g_projects_equally(count: int, seed: int) -> None:
    rows = random_rows(count, seed)
    weights = ask(IMTLG(tasks(count)), rows)
    projections = unit(rows) @ (weights @ rows)
    assert close(projections, projections.mean().expand(count))
    assert projections.mean() > 0
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_config_projects_equally_and_adds_up(count: int, seed: int) -> None:
    rows = random_rows(count, seed)
    found = update(ConFIG, rows)
    projections = unit(rows) @ found
    assert close(projections, projections.mean().expand(count))
    assert projections.mean() > 0
    assert found.norm() == pytest.approx(float((rows @ unit(found)).sum()))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("max_norm", [0.0, None, 1.0, 1.2, 100.0])
def test_nash_update_has_a_fixed_length(count: int, max_norm: float | None) -> None:
    length = update(NashMTL, random_rows(count), max_norm=max_norm).norm()
    assert length == pytest.approx(min(count**0.5, max_norm or 100.0))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("size", [1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_fairgrad_solves_its_equation_at_every_size(count: int, alpha: float, size: float) -> None:
    rows = random_rows(count, 4) * size
    weights = ask(FairGrad(tasks(count), alpha=alpha), rows)
    assert (weights > 0).all()
    gains = rows @ (weights @ rows)
    assert close(gains * weights ** (1 / alpha), torch.ones(count), 1e-10)


def test_nash_solves_conflicts_and_mixed_sizes_where_a_linearisation_fails() -> None:
    rows = random_rows(4, 1)
    rows[1] = -0.9 * rows[0] + 0.05 * rows[1]
    rows *= torch.tensor([1e8, 1e-8, 1.0, 1e3])[:, None]
    assert ((rows @ rows.T).sum(1) < 0).any()
    found = ask(NashMTL(tasks(4), max_norm=0), rows)
    assert close((rows @ (found @ rows)) * found, torch.ones(4), 1e-10)


@pytest.mark.parametrize("balancer", [IMTLG, ConFIG, NashMTL])
def test_direction_does_not_depend_on_sizes(balancer: type[Weighting]) -> None:
    rows = random_rows(4)
    sizes = torch.tensor([1e7, 3.0, 1e-8, 0.1], dtype=torch.float64)[:, None]
    found, scaled = update(balancer, rows), update(balancer, rows * sizes)
    assert close(unit(scaled), unit(found), 1e-8)
    if balancer is NashMTL:
        assert close(scaled, found, 1e-8)


@pytest.mark.parametrize("count", COUNTS)
def test_aligned_gradients_are_orthogonal_and_of_one_length(count: int) -> None:
    """B is found by turning gradients about: with rows diag(s) G, weights are diag(s) B s."""
    signs = 1 - 2 * torch.ones(count, count, dtype=torch.float64).triu(1)  # not singular
    products = [s * ask(AlignedMTL(tasks(count)), s[:, None] * random_rows(count)) for s in signs]
    balance = torch.linalg.solve(signs, torch.stack(products)).T
    rows = random_rows(count)
    aligned = balance.T @ rows
    smallest = torch.linalg.svdvals(rows)[-1]
    assert close(aligned @ aligned.T, smallest**2 * torch.eye(count, dtype=torch.float64), 1e-8)


def test_aligned_scales_and_reductions() -> None:
    rows = random_rows(4)
    singular = torch.linalg.svdvals(rows)
    least = update(AlignedMTL, rows)
    for scale, size in (("median", singular[2]), ("rmse", singular.square().mean().sqrt())):
        assert close(update(AlignedMTL, rows, scale=scale), least * size / singular[-1])
    assert close(update(AlignedMTL, rows, reduction="mean") * 4, least)


def test_aligned_keeps_tasks_with_tiny_gradients() -> None:
    """At 1e-9 of the others an eigenvalue of K is below the rounding of the largest."""
    rows = torch.eye(3, 5, dtype=torch.float64) + 0.1
    rows[2] *= 1e-9
    singular, right = torch.linalg.svd(rows)[1:]
    expected = singular[-1] * torch.linalg.svd(rows)[0] @ right[:3]  # the polar factor, times the least
    assert close(update(AlignedMTL, rows), expected.sum(0), 1e-6)


@pytest.mark.parametrize("cosine", [-0.99, -0.3, 0.0, 0.6, 0.999])
def test_two_tasks_in_closed_form(cosine: float) -> None:
    rows = torch.tensor([[3.0, 0.0], [0.2 * cosine, 0.2 * (1 - cosine**2) ** 0.5]], dtype=torch.float64)
    norms = torch.tensor([3.0, 0.2], dtype=torch.float64)
    assert close(ask(IMTLG(tasks(2)), rows), norms.flip(0) / norms.sum())
    assert close(ask(NashMTL(tasks(2), max_norm=0), rows), 1 / norms / (1 + cosine) ** 0.5)
    # By hand: |x| = sqrt(2 / (1 + cos)), and u . x / |x| = sqrt((1 + cos) / 2) for both tasks.
    assert close(ask(ConFIG(tasks(2)), rows), norms.sum() / 2 / norms)


@every_balancer
def test_order_of_tasks_does_not_matter(balancer: type[Weighting], options: dict[str, Any]) -> None:
    rows = random_rows(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    found = ask(balancer(tasks(5), **options), rows)
    turned = balancer(tasks(5), **options)
    step = replace(make_step(losses(5)[order]), active=order)
    assert close(solve(turned, rows[order] @ rows[order].T, step), found[order])


@every_balancer
@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_extreme_sizes(balancer: type[Weighting], options: dict[str, Any], size: float) -> None:
    rows = random_rows(4)
    plain, extreme = update(balancer, rows, **options), update(balancer, rows * size, **options)
    assert close(unit(extreme), unit(plain))


@every_balancer
def test_a_zero_gradient_leaves_the_others_alone(balancer: type[Weighting], options: dict[str, Any]) -> None:
    rows = random_rows(4)
    rows[2] = 0
    others = torch.tensor([0, 1, 3])
    without = solve(
        balancer(tasks(4), **options),
        rows[others] @ rows[others].T,
        replace(make_step(losses(4)[others]), active=others),
    )
    assert close(ask(balancer(tasks(4), **options), rows)[others], without)


@every_balancer
def test_equal_gradients_share(balancer: type[Weighting], options: dict[str, Any]) -> None:
    """Parallel gradients are dependent, but don't oppose each other."""
    rows = random_rows(3)[:2][torch.tensor([0, 1, 0, 1])]
    found = ask(balancer(tasks(4), **options), rows)
    assert close(found, found[torch.tensor([2, 3, 0, 1])])
    if balancer is not GradNorm:  # which doesn't look at angles
        assert (rows @ (found @ rows)).min() > 0


OPPOSITE = torch.tensor([[1.0, 2.0, 0.0], [-0.5, -1.0, 0.0], [0.0, 1.0, 4.0]], dtype=torch.float64)


SURROUNDING = torch.tensor([[1.0, 0.0], [-0.4, 0.7], [-0.4, -0.7]], dtype=torch.float64)


@pytest.mark.parametrize("balancer", [NashMTL, FairGrad])
@pytest.mark.parametrize("rows", [OPPOSITE, OPPOSITE[:2], SURROUNDING], ids=["3", "2", "no two opposite"])
@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (1e-9, 1.0, 1e9)])
@pytest.mark.parametrize("alpha", [None, 0.5, 3.0])
def test_nothing_is_fair_when_gradients_cancel(
    balancer: type[Weighting], rows: Tensor, sizes: tuple[float, ...], alpha: float | None
) -> None:
    rows = rows * torch.tensor(sizes)[: len(rows), None]
    options = {"alpha": alpha} if alpha and balancer is FairGrad else {}
    with pytest.raises(Unsolvable, match="a convex combination of the task gradients is zero"):
        ask(balancer(tasks(len(rows)), **options), rows)
    turned = rows * torch.tensor([1.0, -1.0, 1.0])[: len(rows), None]  # no longer so
    assert ask(balancer(tasks(len(rows)), **options), turned).min() > 0


def test_opposite_gradients_leave_no_equal_projections() -> None:
    with pytest.raises(Unsolvable, match="only the update 0"):
        update(IMTLG, OPPOSITE)
    with pytest.raises(Unsolvable, match="no direction"):
        update(ConFIG, OPPOSITE[:2])


@pytest.mark.parametrize("balancer", [IMTLG, ConFIG])
def test_nearly_parallel_float32_gradients_count_as_parallel(balancer: type[Weighting]) -> None:
    """Rounding alone tells such rows apart: their difference must not steer the update."""
    rows = random_rows(2).float()
    rows = torch.stack([rows[0], rows[1], rows[0] * 1.1]).double()
    assert close(unit(update(balancer, rows)), unit(update(balancer, rows[:2])), 1e-5)


def test_imtl_learns_scales_and_hands_them_to_own_parameters() -> None:
    rows = random_rows(3)
    balancer = IMTL(tasks(3))
    balancer.log_scale.data += torch.tensor([0.5, -1.0, 0.0])
    scale = balancer.log_scale.exp().detach()
    step = make_step(losses(3))
    found = solve(balancer, rows @ rows.T, step)
    assert close(found @ rows, update(IMTLG, rows * scale[:, None]))
    s = balancer.log_scale.detach().clone().requires_grad_()
    (s.exp() * step.losses - s).sum().backward()
    assert s.grad is not None
    assert balancer.log_scale.grad is not None
    assert torch.allclose(balancer.log_scale.grad, s.grad)
    balancer.log_scale.data.zero_()  # as after an optimizer step
    own = balancer.own_weights(step)
    assert torch.allclose(own, scale), "the weights of the step, not of the next one"


@pytest.mark.parametrize("balancer", [IMTL, GradNorm])
def test_learned_weights_of_absent_tasks_rest(balancer: type[IMTL | GradNorm]) -> None:
    rows = random_rows(3)
    made = balancer(tasks(4))
    step = replace(make_step(losses(3) * 3), active=torch.tensor([3, 0, 2]))
    solve(made, rows @ rows.T, step)
    (parameter,) = made.parameters()
    assert parameter.grad is not None
    assert parameter.grad[1] == 0
    assert (parameter.grad[step.active] != 0).all()


@pytest.mark.parametrize("balancer", [IMTL, GradNorm, NashMTL, FairGrad])
def test_weights_of_own_parameters_outlive_a_resume(balancer: type[Weighting]) -> None:
    """Between two solves they are asked for, too."""
    rows = random_rows(3)
    first = balancer(tasks(3), every=5)
    step = make_step(losses(3))
    for parameter in first.parameters():
        parameter.data += torch.tensor([0.1, -0.3, 0.6])
    solve(first, rows @ rows.T, step)
    second = balancer(dict(reversed(tasks(3).items())), every=5)
    second.load_state_by_task(first.state_by_task())
    own, kept = first.own_weights(step), second.own_weights(replace(step, active=torch.tensor([2, 1, 0])))
    assert own is not None
    assert kept is not None
    assert torch.equal(own, kept)
    assert not torch.equal(own, torch.ones(3))


@pytest.mark.parametrize("balancer", [GradNorm, NashMTL, FairGrad])
def test_own_parameters_can_stay_unweighted(balancer: Any) -> None:
    made = balancer(tasks(3), weigh_own=False)
    ask(made, random_rows(3))
    assert made.own_weights(make_step(losses(3))) is None


def test_nash_clips_shared_parameters_only() -> None:
    rows = random_rows(3)
    balancer = NashMTL(tasks(3))
    found = ask(balancer, rows)
    own = balancer.own_weights(make_step(losses(3)))
    assert own is not None
    assert close(own, found * 3**0.5)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("imtl", "representation"),
        ("gradnorm", "last_layer"),
        ("imtl_g", "parameters"),
        ("nash_mtl", "parameters"),
    ],
)
def test_where_gradients_are_taken(name: str, at: str) -> None:
    options = registry.get("balancer", name).options()
    assert options["at"].default == at
    assert options["every"].default == 1
    made: Balancer = registry.load("balancer", name)(tasks(2), at="parameters", every=3)
    assert isinstance(made, Weighting)
    assert (made.at, made.every) == ("parameters", 3)


@pytest.mark.parametrize(
    ("balancer", "options", "message"),
    [
        (IMTL, {"lr": 0.0}, "`lr` of balancer `imtl` must be > 0"),
        (GradNorm, {"lr": -1.0}, "`lr` of balancer `gradnorm` must be > 0"),
        (GradNorm, {"alpha": -0.5}, "`alpha` of balancer `gradnorm` must be >= 0"),
        (GradNorm, {"initial": "last"}, "`initial` of balancer `gradnorm` must be one of first, epoch"),
        (NashMTL, {"max_norm": -1.0}, "`max_norm` of balancer `nash_mtl` must be >= 0"),
        (FairGrad, {"alpha": 0.0}, "`alpha` of balancer `fairgrad` must be > 0"),
        (AlignedMTL, {"scale": "max"}, "`scale` of balancer `aligned_mtl` must be one of min, median, rmse"),
        (AlignedMTL, {"reduction": "none"}, "`reduction` of balancer `aligned_mtl` must be one of sum, mean"),
    ],
)
def test_wrong_options_are_named(balancer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        balancer(tasks(2), **options)

"""What balancers on rows and on several batches do beyond the conformance suite and the golden sequences."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_balancers import make_step, tasks
from mtlbench.balancers.db_mtl import DBMTL
from mtlbench.balancers.excess_mtl import ExcessMTL
from mtlbench.balancers.graddrop import GradDrop
from mtlbench.balancers.moco import MoCo
from mtlbench.balancers.modo import MoDo
from mtlbench.balancers.sdmgrad import SDMGrad
from mtlbench.balancers.solvers.simplex import project_to_simplex
from torch import Tensor

from mtlbench.balancing import Aggregation, Step
from mtlbench.errors import MtlbenchError
from mtlbench.solving import solve
from mtlbench.testing import check_balancer

ROWS = torch.tensor([[1.0, -2.0, 0.0, 3.0, 0.5], [-1.0, -1.0, 2.0, 0.2, -4.0], [0.3, 5.0, 1.0, -1.0, 1.0]])
LOSSES = torch.tensor([0.5, 2.0, 1.0])


def step(index: int = 0, active: list[int] | None = None, seed: int = 0) -> Step:
    chosen = list(range(3)) if active is None else active
    generator = torch.Generator().manual_seed(seed)
    made = make_step(LOSSES[chosen], index, index)
    return replace(made, active=torch.tensor(chosen), generator=generator)


@pytest.mark.parametrize(
    ("balancer", "options"),
    [
        (GradDrop, {"variant": "parameter", "leak": 0.25}),
        (GradDrop, {"variant": "task"}),
        (DBMTL, {"beta": 0.0}),
        (DBMTL, {"sigma": 0.5}),
        (MoCo, {"rho": 0.1, "beta_decay": 0.0}),
        (ExcessMTL, {"variant": "torchjd", "step_size": 1.0}),
        (MoDo, {"gamma": 0.1, "rho": 0.0}),
        (SDMGrad, {"lam": 0.0, "momentum": 0.0}),
    ],
    ids=str,
)
def test_conformance_of_variants(balancer: Any, options: dict[str, Any]) -> None:
    check_balancer(balancer, **options)


def draws(variant: Any, count: int, features: tuple[Tensor, ...] = ()) -> Tensor:
    """Updates of many draws, (count, P)."""
    made = GradDrop(tasks(3), variant=variant)
    found = [made.combine(ROWS.clone(), replace(step(seed=seed), features=features)) for seed in range(count)]
    return torch.stack(found)


def test_graddrop_keeps_one_sign_by_its_share() -> None:
    found = draws("parameter", 2000)
    above, below = ROWS.clamp(min=0).sum(0), ROWS.clamp(max=0).sum(0)
    assert ((found == above) | (found == below)).all()
    share = (found == above).float().mean(0)
    expected = above / (above - below)
    assert (share - expected).abs().max() < 0.05


def test_graddrop_masks_all_samples_of_a_batch_alike() -> None:
    gradients = torch.tensor([[[2.0, 1.0], [1.0, -1.0]], [[-1.0, 3.0], [-1.0, 0.5]]])  # (T, B, F)
    made = GradDrop(tasks(2))
    features = torch.tensor([[1.0, 1.0], [1.0, -1.0]])[:, :, None, None]
    kept = set()
    for seed in range(50):
        given = replace(make_step(torch.ones(2)), features=(features,))
        given = replace(given, generator=torch.Generator().manual_seed(seed))
        kept.add(tuple(made.combine(gradients.flatten(1).clone(), given).tolist()))
    # The first element: task 0 (x = 3) against task 1 (x = -2). The second, with z < 0 once: both x > 0.
    assert kept == {(2.0, 4.0, 1.0, -0.5), (-1.0, 4.0, -1.0, -0.5)}


def test_graddrop_by_task_drops_whole_gradients() -> None:
    found = draws("task", 50)
    sums = {tuple(ROWS[list(chosen)].sum(0).tolist()) for chosen in ((0, 2), (1,))}
    # Signals are 2.5, -3.8 and 6.3: tasks 0 and 2 stand against task 1.
    assert {tuple(update) for update in found.tolist()} == sums


def test_graddrop_leaks_by_task() -> None:
    open_one = GradDrop(tasks(3), variant="parameter", leak={"task1": 1.0})
    plain = GradDrop(tasks(3), variant="parameter")
    dropped = open_one.combine(ROWS.clone(), step()) - plain.combine(ROWS.clone(), step())
    lost = torch.where(plain.combine(ROWS.clone(), step()).sign() == ROWS[1].sign(), 0.0, ROWS[1])
    assert torch.allclose(dropped, lost)


@pytest.mark.parametrize("at", [("feature", "representation"), ("task", "representation")])
def test_graddrop_takes_gradients_where_its_signal_is(at: tuple[Any, str]) -> None:
    assert GradDrop(tasks(2), variant=at[0]).at == at[1]
    assert GradDrop(tasks(2), variant="parameter").at == "parameters"


def test_db_mtl_brings_all_tasks_to_the_largest_norm() -> None:
    made = DBMTL(tasks(3), beta=0.0)
    largest = (ROWS.norm(dim=1) / LOSSES).max()
    expected = (largest * ROWS / ROWS.norm(dim=1, keepdim=True)).sum(0)
    assert torch.allclose(made.combine(ROWS.clone(), step()), expected)
    assert made.get_buffer("momentum").shape == (3, 0)


@pytest.mark.parametrize("made", [DBMTL(tasks(3)), MoCo(tasks(3)), ExcessMTL(tasks(3))], ids=repr)
def test_absent_tasks_keep_their_rows(made: Aggregation) -> None:
    made.combine(ROWS.clone(), step())
    before = copy.deepcopy(made.state_by_task())
    made.combine(ROWS[[0, 2]].clone(), step(1, [0, 2]))
    after = made.state_by_task()
    rows = made.per_task[0]
    assert torch.equal(before[rows]["task1"], after[rows]["task1"])
    assert not torch.equal(before[rows]["task0"], after[rows]["task0"])


@pytest.mark.parametrize("made", [DBMTL(tasks(3)), MoCo(tasks(3)), ExcessMTL(tasks(3))], ids=repr)
def test_rows_of_another_length_are_refused(made: Aggregation) -> None:
    made.combine(ROWS.clone(), step())
    with pytest.raises(MtlbenchError, match="is for 5 shared parameters, not 4"):
        made.combine(ROWS[:, :4].clone(), step(1))


def test_excess_mtl_favours_the_task_whose_risk_stays() -> None:
    made = ExcessMTL(tasks(3), step_size=1.0)
    for index in range(20):
        shrinking = torch.tensor([1.0, 0.5**index, 1.0])[:, None]
        made.combine(ROWS * shrinking, step(index))
    weights = made.own_weights(step())
    assert weights is not None
    assert weights.sum() == pytest.approx(3)
    assert weights[1] < weights.min() + 1e-12 < 1


@pytest.mark.parametrize("seed", range(5))
def test_projection_is_the_nearest_point(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    point = torch.randn(4, generator=generator, dtype=torch.float64) * 3
    found = project_to_simplex(point)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    others = torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64)).sample((2000,))
    assert ((found - point) @ (others - found).T >= -1e-12).all()  # the variational inequality


def test_projection_of_large_points() -> None:
    point = torch.tensor([1e16, 1e16 - 2, -1e30], dtype=torch.float64)
    assert project_to_simplex(point).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("balancer", [MoDo, SDMGrad])
def test_cross_weights_find_the_shortest_gradient(balancer: Any) -> None:
    """With twice the same batch, and without regularisation, both descend |J^T w|^2 on the simplex."""
    rows = ROWS.double()
    made = balancer(
        tasks(3), **({"gamma": 0.01, "rho": 0.0} if balancer is MoDo else {"lam": 0.0, "lr": 0.01})
    )
    for index in range(400):
        weights = solve(made, rows @ rows.T, step(index))
    gradient = weights @ rows
    assert weights.sum() == pytest.approx(1)
    assert (rows @ gradient >= gradient @ gradient - 1e-4).all()


@pytest.mark.parametrize(
    ("balancer", "options", "message"),
    [
        (GradDrop, {"variant": "layer"}, "`variant` of balancer `graddrop` must be one of feature"),
        (GradDrop, {"leak": 1.5}, "`leak` of balancer `graddrop` must be 0 to 1"),
        (GradDrop, {"leak": {"tsk1": 0.5}}, "did you mean `task1`"),
        (DBMTL, {"beta": 1.0}, "`beta` of balancer `db_mtl` must be >= 0 and < 1"),
        (DBMTL, {"sigma": -1.0}, "`sigma` of balancer `db_mtl` must be >= 0"),
        (MoCo, {"gamma": 0.0}, "`gamma` of balancer `moco` must be > 0"),
        (MoCo, {"rho": -1.0}, "`rho` of balancer `moco` must be >= 0"),
        (
            ExcessMTL,
            {"variant": "paper"},
            "`variant` of balancer `excess_mtl` must be one of libmtl, torchjd",
        ),
        (ExcessMTL, {"step_size": 0.0}, "`step_size` of balancer `excess_mtl` must be > 0"),
        (MoDo, {"gamma": 0.0}, "`gamma` of balancer `modo` must be > 0"),
        (MoDo, {"rho": -0.1}, "`rho` of balancer `modo` must be >= 0"),
        (SDMGrad, {"inner_steps": 0}, "`inner_steps` of balancer `sdmgrad` must be >= 1"),
        (SDMGrad, {"momentum": 1.0}, "`momentum` of balancer `sdmgrad` must be >= 0 and < 1"),
    ],
    ids=str,
)
def test_wrong_options_are_named(balancer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        balancer(tasks(3), **options)

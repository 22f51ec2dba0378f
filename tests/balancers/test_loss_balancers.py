"""Properties of balancers that see losses only."""

import io
import math
from typing import Any

import pytest
import torch
from golden_balancers import tasks
from loss_steps import LOSSES, ask, at, learn, trained, weights
from mtlbench.balancers.dwa import DWA
from mtlbench.balancers.equal import Equal
from mtlbench.balancers.famo import FAMO
from mtlbench.balancers.fixed import Fixed
from mtlbench.balancers.gls import GLS
from mtlbench.balancers.imtl_l import IMTLL
from mtlbench.balancers.log import Log
from mtlbench.balancers.rlw import RLW
from mtlbench.balancers.stch import STCH
from mtlbench.balancers.uncertainty import Uncertainty
from torch import Tensor

from mtlbench.balancing import Scalarization
from mtlbench.errors import MtlbenchError
from mtlbench.testing import balancer_tasks, check_balancer

VARIANTS: list[tuple[Any, dict[str, Any]]] = [
    (Equal, {}),
    (Fixed, {}),
    (Uncertainty, {"variant": "a"}),
    (Uncertainty, {"variant": "b", "init": 0.5}),
    (Uncertainty, {"variant": "c"}),
    (IMTLL, {"init": 0.5}),
    (Log, {"form": "log"}),
    (Log, {"form": "log1p"}),
    (GLS, {}),
    *[(RLW, {"distribution": d}) for d in ("normal", "uniform", "dirichlet", "bernoulli", "one_hot")],
    (DWA, {"temperature": 0.5}),
    (DWA, {"window": 1}),
    (DWA, {"window": 25}),
    (FAMO, {"gamma": 0.1, "min_losses": {"semseg": 0.2}}),
    (STCH, {"warmup": 1, "mu": 0.1}),
    (STCH, {"form": "linear", "mu": 0.1}),
    (STCH, {"form": "linear", "preference": {"semseg": 2.0}, "reference": {"semseg": -0.5}}),
]


@pytest.mark.parametrize(("balancer", "options"), VARIANTS, ids=str)
def test_conformance_of_variants(balancer: Any, options: dict[str, Any]) -> None:
    check_balancer(balancer, **options)


@pytest.mark.parametrize(("balancer", "options"), VARIANTS, ids=str)
def test_linear_says_whether_weights_depend_on_the_losses_of_the_step(
    balancer: Any, options: dict[str, Any]
) -> None:
    names = dict(zip(("semseg", "edge", "sal"), tasks(3).values(), strict=True))
    rounds = 3 if options.get("window") != 25 else 30
    made = trained(balancer(names, **options), rounds)
    first = weights(made, LOSSES, index=rounds, epoch=3)
    second = weights(made, LOSSES.flip(0) * 1.5, index=rounds, epoch=3)
    assert torch.equal(first, second) == made.linear


@pytest.mark.parametrize("balancer", [Log, GLS, FAMO])
def test_a_factor_on_a_loss_does_not_change_the_direction(balancer: Any) -> None:
    made = trained(balancer(tasks(3)))
    factors = torch.tensor([1e-3, 1.0, 50.0], dtype=torch.float64)
    once = weights(made, LOSSES) * LOSSES
    scaled = weights(made, LOSSES * factors) * LOSSES * factors
    assert torch.allclose(scaled / scaled.sum(), once / once.sum(), rtol=1e-4)


def test_log1p_depends_on_the_scale() -> None:
    made = Log(tasks(2), form="log1p")
    share = [weights(made, torch.tensor([a, 1.0])) * torch.tensor([a, 1.0]) for a in (1.0, 10.0)]
    assert share[1][0] / share[1][1] > 1.5 * share[0][0] / share[0][1]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_geometric_mean_does_not_under_or_overflow(size: float) -> None:
    losses = torch.tensor([size, 4 * size, 16 * size])
    total, found = ask(GLS(tasks(3)), at(losses))
    assert math.isclose(float(total), 4 * size, rel_tol=1e-4)
    assert torch.allclose(found * losses, total / 3, rtol=1e-4)


@pytest.mark.parametrize("balancer", [Log, GLS])
def test_a_loss_of_zero_has_no_weight_and_nan_is_not_hidden(balancer: Any) -> None:
    found = weights(balancer(tasks(3)), torch.tensor([0.0, 0.5, 2.0]))
    assert found[0] == 0
    assert (found[1:] > 0).all()
    assert ask(balancer(tasks(2)), at(torch.tensor([math.nan, 1.0])))[0].isnan()


def draws(distribution: Any, count: int = 3, number: int = 600) -> Tensor:
    """Weights (number, T) of as many steps."""
    made = RLW(tasks(count), distribution=distribution)
    return torch.stack([weights(made, torch.ones(count), index=i) for i in range(number)])


@pytest.mark.parametrize("distribution", ["normal", "uniform", "dirichlet", "one_hot"])
def test_random_weights_sum_to_one_and_prefer_no_task(distribution: Any) -> None:
    found = draws(distribution)
    assert torch.allclose(found.sum(1), torch.ones(len(found)))
    assert torch.allclose(found.mean(0), torch.tensor(1 / 3), atol=0.06)
    assert (found.std(0) > 0.05).all()
    assert torch.equal(found, draws(distribution))


def test_random_weights_of_bounded_numbers_are_bounded() -> None:
    ratio = {}
    for distribution in ("normal", "uniform", "dirichlet"):
        found = draws(distribution)
        ratio[distribution] = (found.max(1).values / found.min(1).values).max()
    assert ratio["uniform"] <= math.e
    assert ratio["dirichlet"] <= math.e
    assert ratio["normal"] > 5 * math.e


def test_tasks_drawn_by_coin_are_never_all_out() -> None:
    found = draws("bernoulli", count=2)
    combinations = [((found == torch.tensor(c)).all(1)).double().mean() for c in ([0, 1], [1, 0], [1, 1])]
    assert torch.allclose(torch.stack(combinations), torch.tensor(1 / 3).double(), atol=0.08)


def test_one_hot_weights_take_one_task() -> None:
    assert sorted(draws("one_hot", number=20).flatten().tolist()) == [0.0] * 40 + [1.0] * 20


@pytest.mark.parametrize(
    ("variant", "place"),
    [
        ("a", LOSSES.log()),
        ("b", (2 * LOSSES).log()),
        # 2 sigma^4 = L (1 + sigma^2)
        ("c", ((LOSSES + (LOSSES**2 + 8 * LOSSES).sqrt()) / 4).sqrt()),
    ],
)
def test_uncertainty_at_rest(variant: Any, place: Tensor) -> None:
    made = Uncertainty(tasks(3), variant=variant).double()
    (own,) = made.parameters()
    values = []
    for offset in (-1e-2, 0.0, 1e-2):
        with torch.no_grad():
            own.copy_(place + offset)
        values.append(float(ask(made, at(LOSSES))[0]))
        if offset == 0:
            assert own.grad is not None
            assert own.grad.abs().max() < 1e-9
    assert values[1] < min(values[0], values[2])


def test_imtl_l_at_rest_makes_losses_equal() -> None:
    made = IMTLL(tasks(3)).double()
    with torch.no_grad():
        made.log_scale.copy_(-LOSSES.log())
    assert torch.allclose(weights(made, LOSSES) * LOSSES, torch.ones(3).double())
    assert made.log_scale.grad is not None
    assert made.log_scale.grad.abs().max() < 1e-12


def test_only_uncertainty_of_sigma_keeps_the_total_positive() -> None:
    tiny = LOSSES * 1e-6
    totals = {}
    for variant in ("a", "c"):
        made = Uncertainty(tasks(3), variant=variant, init=-3.0 if variant == "a" else 1e-3)  # type: ignore[arg-type]
        totals[variant] = float(ask(made, at(tiny))[0])
    assert totals["a"] < 0 < totals["c"]


def test_uncertainty_starts_where_it_is_told() -> None:
    assert torch.allclose(
        weights(Uncertainty(tasks(3), init=-0.5), LOSSES), 0.5 * LOSSES.new_tensor(0.5).exp()
    )
    assert torch.allclose(
        weights(Uncertainty(tasks(3), variant="c", init=2.0), LOSSES), LOSSES.new_tensor(0.125)
    )


def two_epochs(first: Tensor, second: Tensor, **options: Any) -> DWA:
    made = DWA(tasks(len(first)), **options)
    for epoch, losses in enumerate((first, second)):
        learn(made, at(losses, epoch, epoch), losses)
    return made


def test_slower_tasks_weigh_more_under_dwa() -> None:
    now = LOSSES * torch.tensor([0.2, 0.9, 1.5]).double()
    found = weights(two_epochs(LOSSES, now), LOSSES, epoch=2)
    assert found[0] < found[1] < found[2]
    assert torch.isclose(found.sum(), torch.tensor(3.0).double())
    hot = weights(two_epochs(LOSSES, now, temperature=1e6), LOSSES, epoch=2)
    assert torch.allclose(hot, torch.ones(3).double(), atol=1e-5)


def test_equal_progress_is_equal_weights_under_dwa() -> None:
    assert torch.allclose(weights(two_epochs(LOSSES, LOSSES / 3), LOSSES, epoch=2), torch.ones(3).double())


def test_dwa_of_a_task_that_an_epoch_lacks_uses_its_last_two_means() -> None:
    made = two_epochs(LOSSES, LOSSES * torch.tensor([0.2, 0.9, 1.5]).double())
    before = weights(made, LOSSES, epoch=2)
    learn(made, at(LOSSES[:2], 2, 2, [0, 1]), LOSSES[:2])
    last, before_last = made.last.clone(), made.before_last.clone()
    weights(made, LOSSES, epoch=3)
    assert made.last[2] == last[2]
    assert made.before_last[2] == before_last[2]
    assert made.before_last[0] == last[0]
    assert not torch.equal(weights(made, LOSSES, epoch=3), before)


def test_a_task_new_to_dwa_counts_as_standing_still() -> None:
    made = DWA(tasks(2))
    for epoch in range(2):
        learn(made, at(LOSSES[:1], epoch, epoch, [0]), LOSSES[:1])
    assert torch.equal(weights(made, LOSSES[:2], epoch=2), torch.ones(2).double())


def test_the_windows_of_dwa_move_with_the_steps_that_a_task_takes_part_in() -> None:
    made, other = (DWA(tasks(2), window=2) for _ in range(2))
    for i in range(6):
        losses = torch.tensor([1.0, 2.0]).double() * 0.8**i
        learn(made, at(losses, i), losses)
        learn(other, at(losses, i), losses)
        learn(other, at(losses[:1] * 7, i, active=[0]), losses)
    assert torch.equal(other.history[1], made.history[1])
    assert not torch.equal(other.history[0], made.history[0])


def test_a_window_of_dwa_waits_for_the_steps_of_its_own_task() -> None:
    made = DWA(tasks(3), window=2)
    for i in range(6):
        learn(made, at(LOSSES[:2] * torch.tensor([0.5, 0.9]).double() ** i, i, active=[0, 1]), LOSSES[:2])
    found = weights(made, LOSSES * 0.01)  # the loss of the third task is far below the 1 that stands for none
    as_if_at_rest = weights(made, torch.tensor([*(LOSSES[:2] * 0.01), 1.0]).double())
    assert torch.equal(found, as_if_at_rest)
    assert found[0] != found[1]


ROUNDS = [[0, 1, 2], [0, 2], [1, 2], [0, 1, 2], [1], [0, 1], [0, 1, 2], [2, 0]]


@pytest.mark.parametrize(
    ("balancer", "options"),
    [
        (FAMO, {"gamma": 0.1}),
        (STCH, {"warmup": 1}),
        (DWA, {}),
        (DWA, {"window": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [3, 4, 6])
def test_resumed_bit_for_bit_though_tasks_are_absent(
    balancer: Any, options: dict[str, Any], stop: int
) -> None:
    def go_on(made: Scalarization, start: int) -> list[Tensor]:
        found = []
        for i, active in list(enumerate(ROUNDS))[start:]:
            step = at(LOSSES[active] * 0.9**i, i, i // 2, active)
            found.append(ask(made, step)[1])
            learn(made, step, step.losses * (1 - 0.1 * step.active / 2))
            if i + 1 == stop:
                file = io.BytesIO()
                torch.save(made.state_by_task(), file)
                file.seek(0)
                kept.append(torch.load(file, weights_only=True))
        return found

    kept: list[dict[str, Any]] = []
    whole = go_on(balancer(tasks(3), **options), 0)
    resumed = balancer(tasks(3), **options)
    resumed.load_state_by_task(kept[0])
    rest = go_on(resumed, stop)
    assert all(torch.equal(a, b) for a, b in zip(whole[stop:], rest, strict=True))
    fresh = go_on(balancer(tasks(3), **options), stop)
    assert not all(torch.equal(a, b) for a, b in zip(whole[stop:], fresh, strict=True))


@pytest.mark.parametrize(
    ("balancer", "options", "message"),
    [
        (
            Uncertainty,
            {"variant": "d"},
            "`variant` of balancer `uncertainty` must be one of a, b, c, got 'd'",
        ),
        (Uncertainty, {"variant": "c", "init": 0.0}, "`init` of balancer `uncertainty` must be > 0"),
        (IMTLL, {"lr": -1.0}, "`lr` of balancer `imtl_l` must be > 0, got -1.0"),
        (Log, {"form": "log2"}, "`form` of balancer `log` must be one of log, log1p"),
        (RLW, {"distribution": "cauchy"}, "`distribution` of balancer `rlw` must be one of normal, uniform"),
        (DWA, {"window": 0}, "`window` of balancer `dwa` must be > 0, got 0"),
        (FAMO, {"lr": 0.0}, "`lr` of balancer `famo` must be > 0"),
        (FAMO, {"gamma": -1.0}, "`gamma` of balancer `famo` must be >= 0, got -1.0"),
        (FAMO, {"min_losses": {"dept": 0.1}}, "`min_losses` of balancer `famo`.*did you mean `depth`"),
        (STCH, {"mu": 0.0}, "`mu` of balancer `stch` must be > 0"),
        (STCH, {"warmup": -1}, "`warmup` of balancer `stch` must be >= 0, got -1"),
        (STCH, {"form": "cubic"}, "`form` of balancer `stch` must be one of log, linear"),
        (
            STCH,
            {"preference": {"depth": 1.0}},
            "`preference` of balancer `stch` needs `form` linear, got log",
        ),
        (STCH, {"form": "linear", "preference": {"depth": 0.0}}, "`preference.depth` .* must be > 0"),
        (STCH, {"form": "linear", "reference": {"dept": 0.0}}, "`reference` of .*did you mean `depth`"),
    ],
)
def test_wrong_options_are_named(balancer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        balancer(balancer_tasks(), **options)

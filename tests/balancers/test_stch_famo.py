"""Balancers of losses whose weights have a memory: STCH and FAMO."""

import math
from typing import Any

import torch
from golden_balancers import tasks
from loss_steps import LOSSES, ask, at, learn, trained, weights
from mtlbench.balancers.famo import FAMO
from mtlbench.balancers.stch import STCH


def stch_after_warmup(**options: Any) -> STCH:
    """Its nadir is LOSSES, as the mean of two steps."""
    made = STCH(tasks(3), warmup=1, **options)
    for i, factor in enumerate((9.0, 0.5, 1.5)):
        learn(made, at(LOSSES * factor, i, epoch=min(i, 1)), LOSSES)
    return made


def test_a_small_mu_picks_the_largest_ratio() -> None:
    losses = LOSSES * torch.tensor([0.5, 1.2, 1.1]).double()
    log = weights(stch_after_warmup(mu=1e-3), losses, epoch=2)
    assert torch.allclose(log, torch.tensor([0.0, 3.0, 0.0]).double() / losses)
    preference = dict(zip(tasks(3), (1 / LOSSES).tolist(), strict=True))
    linear = STCH(tasks(3), form="linear", mu=1e-4, preference=preference)
    total, found = ask(linear, at(losses))
    assert torch.allclose(found, torch.tensor([0.0, 1.0, 0.0]).double() / LOSSES)
    assert math.isclose(float(total), 1.2, rel_tol=1e-6)


def test_a_large_mu_of_log_losses_is_the_sum_of_log_losses() -> None:
    losses = LOSSES * torch.tensor([0.5, 1.2, 1.1]).double()
    assert torch.allclose(weights(stch_after_warmup(mu=1e6), losses, epoch=2), 1 / losses, rtol=1e-5)


def test_the_nadir_is_the_mean_of_its_epoch_and_stays() -> None:
    made = stch_after_warmup()
    learn(made, at(LOSSES * 7, 3, epoch=2), LOSSES)
    assert torch.allclose(made.sums / made.counts, LOSSES)


def test_a_task_after_the_warm_up_starts_from_its_first_loss() -> None:
    made = STCH(tasks(2), warmup=0)
    learn(made, at(LOSSES[:1], 0, 0, [0]), LOSSES[:1])
    losses = torch.tensor([LOSSES[0] * 3, 7.0]).double()
    first = weights(made, losses, epoch=1) * losses
    assert torch.allclose(first, torch.tensor([1.5, 0.5]).double())  # ratios 3 and 1, times T / 4
    made.observe(at(losses, 1, 1))
    second = weights(made, torch.tensor([LOSSES[0], 21.0]).double(), epoch=1)
    assert torch.isclose(second[1] * 21.0, torch.tensor(1.5).double())


def test_smooth_maxima_of_extreme_losses_are_finite() -> None:
    losses = torch.tensor([1e30, 1e-30, 0.0])
    for made in (stch_after_warmup(mu=1e-6), STCH(tasks(3), form="linear", mu=1e-30)):
        total, found = ask(made, at(losses, epoch=2))
        assert total.isfinite()
        assert found.isfinite().all()


def test_famo_weights_sum_to_one_and_the_slowest_task_gains() -> None:
    made = trained(FAMO(tasks(3)))
    assert torch.isclose(weights(made, LOSSES).sum(), torch.tensor(1.0).double())
    shares = weights(made, LOSSES) * (LOSSES + 1e-8)
    assert shares[0] < shares[1] < shares[2]


def test_famo_is_adam_on_each_logit_though_tasks_are_absent() -> None:
    made = FAMO(tasks(3), lr=0.1, gamma=0.3)
    logits = [torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(3)]
    optimizers = [torch.optim.Adam([logit], lr=0.1, weight_decay=0.3) for logit in logits]
    generator = torch.Generator().manual_seed(3)
    for i, active in enumerate([[0, 1, 2], [0, 2], [1], [0, 1, 2], [2, 1], [0, 1]]):
        before = LOSSES[active] * (0.5 + torch.rand(len(active), generator=generator).double())
        after = before * (0.5 + torch.rand(len(active), generator=generator).double())
        learn(made, at(before, i, active=active), after)
        change = ((before + 1e-8) / (after + 1e-8)).log()
        objective = torch.stack([logits[k] for k in active]).softmax(0) @ change
        for k, gradient in zip(
            active, torch.autograd.grad(objective, [logits[k] for k in active]), strict=True
        ):
            logits[k].grad = gradient
            optimizers[k].step()
    assert torch.allclose(made.logits, torch.stack([logit.detach() for logit in logits]), rtol=1e-10)


def test_famo_leaves_out_a_task_below_its_bound() -> None:
    made = FAMO(tasks(3), min_losses={"task1": 0.4})
    found = weights(made, LOSSES)
    assert found[1] == 0
    assert torch.isclose(found.sum(), torch.tensor(1.0).double())
    learn(made, at(LOSSES), LOSSES * 0.9)
    assert made.logits.isfinite().all()
    everything = FAMO(tasks(3), min_losses=dict.fromkeys(tasks(3), 5.0))
    assert torch.equal(weights(everything, LOSSES), torch.zeros(3).double())


def test_famo_learns_nothing_from_losses_that_are_not_finite() -> None:
    made = trained(FAMO(tasks(3)))
    state = {name: value.clone() for name, value in made.state_dict().items()}
    made.observe_change(at(LOSSES), LOSSES * torch.tensor([1.0, math.nan, 1.0]))
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())

"""GradNorm: its gradient, its first losses, its weights."""

from dataclasses import replace

import pytest
import torch
from golden_balancers import make_step, tasks
from gradient_rows import ask, close, losses, random_rows
from mtlbench.balancers.gradnorm import GradNorm
from torch import Tensor

from mtlbench.balancing import Unsolvable
from mtlbench.solving import solve


def gradnorm_gradient(logits: Tensor, norms: Tensor, rates: Tensor, alpha: float) -> Tensor:
    """By autograd, the target held constant."""
    s = logits.detach().clone().requires_grad_()
    sizes = len(s) * s.softmax(0) * norms
    target = sizes.mean().detach() * (rates / rates.mean()) ** alpha
    (sizes - target).abs().sum().backward()
    assert s.grad is not None
    return s.grad


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_gradnorm_needs_no_second_derivative(alpha: float) -> None:
    rows = random_rows(4)
    balancer = GradNorm(tasks(4), alpha=alpha)
    first, second = losses(4), losses(4).flip(0) * torch.tensor([1.0, 0.2, 3.0, 0.5])
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.3)
    for index, values in enumerate((first, second)):
        expected = gradnorm_gradient(balancer.logits, rows.norm(dim=1), values / first, alpha)
        weights = 4 * balancer.logits.detach().softmax(0)
        step = make_step(values, index)
        assert close(solve(balancer, rows @ rows.T, step), weights)
        assert balancer.logits.grad is not None
        assert close(balancer.logits.grad, expected)
        optimizer.step()
        balancer.observe(step)
        own = balancer.own_weights(step)
        assert own is not None
        assert close(own, weights), "the weights of the step, not of the next one"


def test_gradnorm_pulls_gradients_to_one_length() -> None:
    """Losses at their initial values ask for equal G_i."""
    rows = random_rows(3)
    balancer = GradNorm(tasks(3), alpha=1.5)
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.02)
    for _ in range(600):
        weights = ask(balancer, rows)
        optimizer.step()
    sizes = weights * rows.norm(dim=1)
    assert sizes.max() / sizes.min() < 1.2
    assert rows.norm(dim=1).max() / rows.norm(dim=1).min() > 20


def test_gradnorm_sums_to_the_number_of_tasks_present() -> None:
    rows = random_rows(2)
    balancer = GradNorm(tasks(4))
    balancer.logits.data.copy_(torch.tensor([1.0, 5.0, 0.0, -2.0]))
    step = replace(make_step(losses(2)), active=torch.tensor([2, 0]))
    weights = solve(balancer, rows @ rows.T, step)
    assert weights.sum() == pytest.approx(2)
    assert weights[1] / weights[0] == pytest.approx(float(torch.tensor(1.0).exp()))


def test_gradnorm_takes_the_mean_of_the_first_epoch_for_initial_losses() -> None:
    rows = random_rows(2)
    balancer = GradNorm(tasks(2), initial="epoch", alpha=1.0)
    balancer.logits.data.copy_(torch.tensor([0.0, 1.0]))
    for index, values in enumerate(([1.0, 4.0], [3.0, 8.0])):
        step = make_step(torch.tensor(values, dtype=torch.float64), index, epoch=0)
        assert solve(balancer, rows @ rows.T, step).tolist() == [1.0, 1.0]
        assert balancer.logits.grad is None
        balancer.observe(step)
    step = make_step(torch.tensor([1.0, 1.0], dtype=torch.float64), 2, epoch=1)
    weights = solve(balancer, rows @ rows.T, step)
    assert close(weights, 2 * torch.tensor([0.0, 1.0], dtype=torch.float64).softmax(0))
    rates = torch.tensor([1 / 2, 1 / 6], dtype=torch.float64)
    assert balancer.logits.grad is not None
    expected = gradnorm_gradient(balancer.logits, rows.norm(dim=1), rates, 1.0)
    assert close(balancer.logits.grad, expected)
    balancer.observe(step)
    assert balancer.initial_losses.tolist() == [2.0, 6.0]


def test_gradnorm_knows_a_task_from_its_first_appearance() -> None:
    rows = random_rows(3)
    balancer = GradNorm(tasks(3))
    two = torch.tensor([0, 2])
    solve(balancer, rows[two] @ rows[two].T, replace(make_step(losses(2)), active=two))
    ask(balancer, rows)
    assert balancer.initial_losses.tolist() == [0.5, 1.25, 2.0]


def test_gradnorm_has_no_rates_for_losses_that_begin_at_zero() -> None:
    rows = random_rows(2)
    balancer = GradNorm(tasks(2))
    with pytest.raises(Unsolvable, match="need losses > 0"):
        solve(balancer, rows @ rows.T, make_step(torch.zeros(2, dtype=torch.float64)))

"""What every balancer must do, whoever wrote it.

Each check takes a `Balancer` class and its options; what it asks for depends on the kind: the gradient of a
`Scalarization`'s scalar at the losses, the weights of a `Weighting` or a `CrossWeighting`, the gradient of an
`Aggregation`.
"""

import copy
import inspect
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mtlbench import tasks as t
from mtlbench.balancing import (
    Aggregation,
    Balancer,
    CrossWeighting,
    Scalarization,
    Step,
    Unsolvable,
    Weighting,
)
from mtlbench.seeding import seed_torch
from mtlbench.solving import solve

PARAMETERS = 7
"""Length of the task gradients."""
ROUNDS = 4
"""Optimizer steps of the checks that look at state; each is in an epoch of its own."""

MAY_BE_UNSOLVABLE = ("one of another scale", "antiparallel", "rank-deficient")

BalancerClass = Callable[..., Balancer]


def balancer_tasks(count: int = 5) -> dict[str, t.Task]:
    """The first of five tasks."""
    every = (t.semseg(("a", "b", "c")), t.depth(), t.normals(), t.edge(), t.sal())
    return {task.name: task for task in every[:count]}


def check_balancer(balancer: BalancerClass, **options: Any) -> None:
    """All checks, one after the other."""
    for check in BALANCER_CHECKS:
        check(balancer, **options)


def check_kind(balancer: BalancerClass, **options: Any) -> None:
    """It is of exactly one kind."""
    made = balancer(balancer_tasks(), **options)
    every = (Scalarization, Weighting, CrossWeighting, Aggregation)
    kinds = [kind.__name__ for kind in every if isinstance(made, kind)]
    assert len(kinds) == 1, f"a balancer is one of {[kind.__name__ for kind in every]}, found {kinds}"


def check_finite(balancer: BalancerClass, **options: Any) -> None:
    """Finite on inputs of every scale, on zero, opposite and dependent ones, for 1, 2 and 5 tasks.

    Opposite and dependent gradients, and those of very different scales, may be `Unsolvable`.
    """
    for count in (1, 2, 5):
        for name, rows, losses in _inputs(count):
            made = balancer(balancer_tasks(count), **options)
            try:
                for output in _train(made, rows, losses):
                    assert output.isfinite().all(), f"{count} tasks, {name}: {output.tolist()}"
            except Unsolvable as reason:
                if name not in MAY_BE_UNSOLVABLE:
                    raise AssertionError(f"{count} tasks, {name}: {reason}") from reason


def check_single_task(balancer: BalancerClass, **options: Any) -> None:
    """With one task alone its loss is descended."""
    rows, losses = _random(1)
    made = balancer(balancer_tasks(1), **options)
    output = _ask(made, rows, _step(losses))
    towards = output @ rows[0].to(output) if isinstance(made, Aggregation) else output[-1]
    assert towards > 0, f"the only task must be descended, its weight is {float(towards):.3g}"


def check_active_tasks(balancer: BalancerClass, **options: Any) -> None:
    """Tasks that have no label in a batch are left out: shapes follow, whichever tasks remain."""
    rows, losses = _random(5)
    made = balancer(balancer_tasks(), **options)
    for index, active in enumerate(([0, 2, 4], [3], [0, 1, 2, 3, 4], [1, 4], [0, 2, 4])):
        step = _step(losses[active], index, active)
        assert _ask(made, rows[active], step).isfinite().all(), f"active {active}: not finite"
        _learn(made, step)


def check_inputs_unchanged(balancer: BalancerClass, **options: Any) -> None:
    """The losses of a step are left as they were; only rows may be overwritten."""
    rows, losses = _random(5)
    made = balancer(balancer_tasks(), **options)
    step = _step(losses.clone())
    _ask(made, rows, step)
    made.observe(step)
    assert torch.equal(step.losses, losses), "the losses of the step were changed in place"


def check_state(balancer: BalancerClass, **options: Any) -> None:
    """Saved and loaded, also by way of another order of the tasks, it goes on bit for bit."""
    tasks = balancer_tasks()
    backwards = dict(reversed(tasks.items()))
    rows, losses = _random(5)
    first = balancer(tasks, **options)
    list(_train(first, rows, losses))
    state = _stored(first)
    turned = balancer(backwards, **options)
    turned.load_state_by_task(state)
    _assert_same_state(state, _stored(turned))
    for name, saved in (("saved and loaded", state), ("in another order", _stored(turned))):
        loaded = balancer(tasks, **options)
        loaded.load_state_by_task(saved)
        going_on = copy.deepcopy(first)
        outputs = [_ask(made, rows.flip(1), _step(losses * 0.7, ROUNDS)) for made in (going_on, loaded)]
        assert torch.equal(*outputs), f"{name}, the next output differs: {[o.tolist() for o in outputs]}"


def check_determinism(balancer: BalancerClass, **options: Any) -> None:
    """The generator of the step is the only source of chance."""
    rows, losses = _random(5)
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            seed_torch(seed)
            found.append(torch.stack(list(_train(balancer(balancer_tasks(), **options), rows, losses))))
    assert torch.equal(*found), (
        "outputs differ, though the generators were the same: draw from `step.generator`"
    )


def check_description(balancer: BalancerClass, **options: Any) -> None:
    """It has a summary, and every option a type and a default that a grid file can hold."""
    assert (balancer.__doc__ or "").strip(), "a docstring is required"
    for parameter in inspect.signature(balancer, eval_str=True).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        assert parameter.annotation is not inspect.Parameter.empty, f"option `{parameter.name}` needs a type"
        if parameter.default is not inspect.Parameter.empty:
            _assert_json(parameter.name, parameter.default)


BALANCER_CHECKS = (
    check_kind,
    check_finite,
    check_single_task,
    check_active_tasks,
    check_inputs_unchanged,
    check_state,
    check_determinism,
    check_description,
)


def _random(count: int) -> tuple[Tensor, Tensor]:
    """Task gradients (T, P) and losses (T,), always the same."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, PARAMETERS, generator=generator), torch.rand(count, generator=generator) + 0.5


def _inputs(count: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, task gradients (T, P) and losses (T,)."""
    rows, losses = _random(count)
    first = torch.arange(count) == 0
    yield "well-scaled", rows, losses
    yield "tiny", rows * 1e-8, losses * 1e-8
    yield "huge", rows * 1e8, losses * 1e8
    yield "one of another scale", torch.where(first[:, None], rows * 1e8, rows), losses * (1 + first * 1e8)
    yield "zero row", rows * ~first[:, None], losses * ~first
    yield "antiparallel", rows[:1] * torch.tensor([1.0, -1.0, 2.0, -0.5, -1.0])[:count, None], losses
    yield "rank-deficient", rows[torch.arange(count) % 2], losses


def _step(losses: Tensor, index: int = 0, active: list[int] | None = None) -> Step:
    positions = torch.arange(len(losses)) if active is None else torch.tensor(active)
    return Step(index, index, positions, losses, torch.Generator().manual_seed(11 + index))


def _train(balancer: Balancer, rows: Tensor, losses: Tensor) -> Iterator[Tensor]:
    """Some steps with slowly changing inputs; yields each output."""
    for index in range(ROUNDS):
        step = _step(losses * 0.9**index, index)
        yield _ask(balancer, rows * 0.9**index, step)
        _learn(balancer, step)


def _ask(balancer: Balancer, rows: Tensor, step: Step) -> Tensor:
    """What the balancer says: weights (T,), a gradient (P,), or a scalar and its weights (1 + T)."""
    if isinstance(balancer, Scalarization):
        return _ask_scalar(balancer, step)
    if isinstance(balancer, Weighting | CrossWeighting):
        double = rows.double()
        other = double.flip(1) if isinstance(balancer, CrossWeighting) else double
        output = solve(balancer, double @ other.T, step)
        expected = (len(rows),)
    else:
        assert isinstance(balancer, Aggregation)
        output = balancer.combine(rows.clone(), step)
        expected = (rows.shape[1],)
    assert tuple(output.shape) == expected, f"shape {tuple(output.shape)}, not {expected}"
    return output


def _ask_scalar(balancer: Scalarization, step: Step) -> Tensor:
    """(1 + T): the scalar, then its gradient at the losses; leaves the gradients of own parameters."""
    values = step.losses.clone().requires_grad_()
    total = balancer.total(values, step)
    assert total.shape == (), f"the total must be one scalar, found shape {tuple(total.shape)}"
    balancer.zero_grad()
    total.backward()
    assert values.grad is not None, "the total doesn't depend on the losses"
    for name, parameter in balancer.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), f"gradient of {name} is not finite"
    return torch.cat([total.detach()[None], values.grad])


def _learn(balancer: Balancer, step: Step) -> None:
    """What the engine does after a step."""
    with torch.no_grad():
        for parameter in balancer.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad.sign(), alpha=balancer.lr)
    balancer.observe(step)
    if balancer.sees_change:
        balancer.observe_change(step, step.losses * 0.95)


def _stored(balancer: Balancer) -> dict[str, Any]:
    """The state as a checkpoint brings it back."""
    file = io.BytesIO()
    torch.save(balancer.state_by_task(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def _assert_same_state(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys(), f"state has {sorted(second)}, not {sorted(first)}"
    for name, value in first.items():
        ours, theirs = ({"": v} if isinstance(v, Tensor) else v for v in (value, second[name]))
        for task, tensor in ours.items():
            same = torch.equal(tensor.nan_to_num(nan=-1.0), theirs[task].nan_to_num(nan=-1.0))
            assert same, f"state `{name}` of {task or 'all tasks'} changed on the way: is it in `per_task`?"


def _assert_json(name: str, default: Any) -> None:
    try:
        json.dumps(default)
    except TypeError as error:
        raise AssertionError(
            f"default of option `{name}` can't be written to a grid file: {error}"
        ) from error

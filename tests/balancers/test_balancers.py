"""Every built-in balancer passes the conformance suite, and broken ones do not."""

from typing import Any

import pytest
import torch
from mtlbench.balancers.dwa import DWA
from mtlbench.balancers.fixed import Fixed
from mtlbench.balancers.uncertainty import Uncertainty
from torch import Tensor

from mtlbench.balancing import Aggregation, Balancer, Scalarization, Step, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.testing import BALANCER_CHECKS, balancer_tasks, check_balancer
from mtlbench.testing.balancers import (
    check_active_tasks,
    check_description,
    check_determinism,
    check_finite,
    check_inputs_unchanged,
    check_kind,
    check_single_task,
    check_state,
)

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("fixed", {"weights": {"semseg": 2.5}}),
    ("uncertainty", {"init": -0.5, "lr": 0.1}),
    ("dwa", {"temperature": 0.5}),
    ("dwa", {"window": 2}),
    ("stch", {"warmup": 1}),
    ("uncertainty", {"variant": "c"}),
    ("nash_mtl", {"max_norm": None}),
    ("nash_mtl", {"weigh_own": False}),
    ("fairgrad", {"alpha": 2.0}),
    ("aligned_mtl", {"scale": "rmse", "reduction": "mean"}),
    ("aligned_mtl", {"scale": "median"}),
    ("gradnorm", {"initial": "epoch", "alpha": 0.5, "weigh_own": False}),
    ("imtl", {"lr": 0.1}),
    ("graddrop", {"variant": "parameter"}),
    ("graddrop", {"variant": "task"}),
    ("excess_mtl", {"variant": "torchjd"}),
    ("pcgrad", {"self_visit": True}),
    ("mgda", {"normalize": "l2"}),
]
"""Beside the default options of every balancer."""
BUILT_IN = [p.name for p in registry.plugins("balancer") if str(p.target).startswith("mtlbench.balancers.")]
BALANCERS = [(name, {}) for name in BUILT_IN] + VARIANTS


@pytest.mark.parametrize("check", BALANCER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), BALANCERS, ids=str)
def test_conformance(name: str, options: dict[str, Any], check: Any) -> None:
    assert set(options) <= set(registry.get("balancer", name).options())
    check(registry.load("balancer", name), **options)


class Summed(Aggregation):
    """The sum of rows."""

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        return rows.sum(0)


def test_a_sound_aggregation_passes() -> None:
    check_balancer(Summed)


class Inverse(Weighting):
    """Gives up where the Gramian is singular."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        if len(gramian) > 1:
            raise Unsolvable("singular")
        return torch.ones(1, dtype=torch.float64)


class Opposed(Weighting):
    """Climbs."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return -torch.ones(len(gramian), dtype=torch.float64)


class Deaf(Scalarization):
    """Has five weights, whichever tasks take part."""

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return (torch.ones(5) * losses).sum()


class Careless(Scalarization):
    """Scales the losses of the step in place."""

    def total(self, losses: Tensor, step: Step) -> Tensor:
        step.losses.div_(step.losses.max())
        return losses.sum()


class Forgetful(Scalarization):
    """Keeps a running loss per task outside the state."""

    def __init__(self, tasks: Any) -> None:
        super().__init__(tasks)
        self.mean = torch.ones(len(tasks))

    def total(self, losses: Tensor, step: Step) -> Tensor:
        return (losses / self.mean[step.active]).sum()

    def observe(self, step: Step) -> None:
        self.mean[step.active] = 0.5 * self.mean[step.active] + 0.5 * step.losses


class Unnamed(Forgetful):
    """Keeps it in the state, but not under the tasks' names."""

    def __init__(self, tasks: Any) -> None:
        super().__init__(tasks)
        del self.mean
        self.register_buffer("mean", torch.arange(1.0, 1 + len(tasks)))

    def load_state_by_task(self, state: dict[str, Any]) -> None:
        self.load_state_dict({"mean": state["mean"].flip(0)})


class Rolling(Weighting):
    """Draws from the global generator."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return torch.rand(len(gramian), dtype=torch.float64)


class Flat(Weighting):
    """Weights in single precision."""

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return torch.ones(len(gramian))


class Unwritable(Summed):
    """Has an option that no file can hold."""

    def __init__(self, tasks: Any, *, start: Any = frozenset()) -> None:
        super().__init__(tasks)


class Silent(Summed):
    __doc__ = None


@pytest.mark.parametrize(
    ("balancer", "check", "message"),
    [
        (Balancer, check_kind, "a balancer is one of"),
        (Inverse, check_finite, "2 tasks, well-scaled: singular"),
        (Flat, check_finite, "float64"),
        (Opposed, check_single_task, "must be descended"),
        (Careless, check_inputs_unchanged, "changed in place"),
        (Forgetful, check_state, "the next output differs"),
        (Unnamed, check_state, "is it in `per_task`"),
        (Rolling, check_determinism, "draw from `step.generator`"),
        (Unwritable, check_description, "can't be written to a grid file"),
        (Silent, check_description, "a docstring is required"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_suite_notices(balancer: Any, check: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(balancer)
    with pytest.raises(AssertionError):
        check_balancer(balancer)


def test_the_suite_notices_weights_of_absent_tasks() -> None:
    with pytest.raises(RuntimeError, match="must match the size"):
        check_active_tasks(Deaf)


@pytest.mark.parametrize(
    ("balancer", "options", "message"),
    [
        (Fixed, {"weights": {"semsg": 1.0}}, "did you mean `semseg`"),
        (Fixed, {"weights": {"depth": 0.0}}, "must be > 0, got 0.0 for depth"),
        (Uncertainty, {"lr": 0.0}, "`lr` of balancer `uncertainty` must be > 0"),
        (DWA, {"temperature": 0.0}, "`temperature` of balancer `dwa` must be > 0"),
    ],
)
def test_wrong_options_are_named(balancer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        balancer(balancer_tasks(), **options)

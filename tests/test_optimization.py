import pytest
import torch
from golden_cases import Widths
from mtlbench.methods.multi_task import MultiTask

from mtlbench.optimization import learning_rate, make_optimizer, set_learning_rate
from mtlbench.spec import Recipe
from mtlbench.tasks import depth
from mtlbench.testing import TinyBackbone


def test_poly_decay_by_iteration() -> None:
    recipe = Recipe(iterations=100, lr=0.1, power=0.9)
    assert learning_rate(recipe, 0) == 0.1
    assert learning_rate(recipe, 50) == pytest.approx(0.1 * 0.5**0.9)
    assert 0 < learning_rate(recipe, 99) < 0.002
    assert learning_rate(recipe.model_copy(update={"schedule": "constant"}), 99) == 0.1


def test_warm_up_is_linear() -> None:
    recipe = Recipe(iterations=100, lr=1.0, warmup=3, schedule="constant")
    assert [learning_rate(recipe, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_falls_from_the_warm_up_to_the_floor() -> None:
    recipe = Recipe(iterations=110, lr=2.0, warmup=10, schedule="cosine", floor=0.1)
    assert learning_rate(recipe, 9) == pytest.approx(2.0 * 10 / 11)
    assert learning_rate(recipe, 10) == 2.0
    assert learning_rate(recipe, 60) == pytest.approx(2.0 * 0.55)
    assert learning_rate(recipe, 110) == pytest.approx(0.2)


def test_steps() -> None:
    recipe = Recipe(iterations=300, lr=1.0, schedule="step", drop=0.5, drop_every=1 / 3)
    rates = [learning_rate(recipe, step) for step in range(300)]
    assert rates == [1.0] * 100 + [0.5] * 100 + [0.25] * 100


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_backbone_has_a_rate_of_its_own(optimizer: str) -> None:
    recipe = Recipe.model_validate({"optimizer": optimizer, "lr": 0.5, "backbone_lr": 0.1, "iterations": 10})
    network = MultiTask(TinyBackbone(), {"depth": depth()})
    made = make_optimizer(network, recipe)
    set_learning_rate(made, recipe, 0)
    assert [group["lr"] for group in made.param_groups] == [pytest.approx(0.05), 0.5]
    counted = sum(len(group["params"]) for group in made.param_groups)
    assert counted == len(list(network.parameters()))
    assert made.param_groups[0]["weight_decay"] == recipe.weight_decay


def test_frozen_parameters_are_left_out() -> None:
    network = MultiTask(Widths([8, 8, 8, 8]), {"depth": depth()})
    frozen = list(network.bottleneck.parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)
    held = [p for group in make_optimizer(network, Recipe()).param_groups for p in group["params"]]
    assert held
    assert not {id(p) for p in held} & {id(p) for p in frozen}


def test_weight_decay_of_adam_is_part_of_the_gradient() -> None:
    """Which Adam divides by the gradient's size: a decayed weight then moves by the learning rate."""
    for optimizer, shrinks in (("adam", False), ("adamw", True)):
        network = MultiTask(TinyBackbone(), {"depth": depth()})
        recipe = {"optimizer": optimizer, "lr": 0.001, "weight_decay": 0.1}
        made = make_optimizer(network, Recipe.model_validate(recipe))
        weight = next(p for group in made.param_groups for p in group["params"] if p.ndim == 4)
        weight.data.fill_(2.0)
        weight.grad = torch.zeros_like(weight)
        made.step()
        moved = 0.001 * 0.1 * 2.0 if shrinks else 0.001
        torch.testing.assert_close(weight.data, torch.full_like(weight, 2.0 - moved), rtol=0, atol=1e-6)

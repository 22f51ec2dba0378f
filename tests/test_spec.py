import pytest
from pydantic import ValidationError, create_model

from mtlbench.spec import Cell, Choice, Recipe


def make_cell(**changes: object) -> Cell:
    content = {
        "dataset": Choice(name="rooms"),
        "tasks": ("semseg", "depth"),
        "backbone": Choice(name="hrnet18"),
        "method": Choice(name="degmix", options={"depth": 4}),
        "balancer": Choice(name="pcgrad"),
        "recipe": Recipe(lr=0.1),
    }
    return Cell(**{**content, **changes})


def test_id_is_readable_and_stable() -> None:
    assert make_cell().id == make_cell().id
    assert make_cell().id == "rooms-hrnet18-degmix-pcgrad-s0-" + make_cell().id[-10:]
    assert make_cell(tasks=("depth",)).id.startswith("rooms-hrnet18-degmix-depth-s0-")


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"tasks": ("depth", "semseg")},
        {"method": Choice(name="degmix", options={"depth": 2})},
        {"recipe": Recipe(lr=0.2)},
        {"tuning": Choice(name="other")},
        {"dataset": Choice(name="rooms", options={"root": "elsewhere"})},
    ],
)
def test_any_content_changes_the_id(changes: dict[str, object]) -> None:
    assert make_cell(**changes).id != make_cell().id


def test_values_equal_to_defaults_do_not_enter_the_id() -> None:
    assert make_cell(seed=0, tuning=Choice(name="full")).id == make_cell().id
    assert make_cell(recipe=Recipe(lr=0.1, momentum=0.9)).id == make_cell().id


def test_a_new_option_with_a_default_keeps_old_ids() -> None:
    newer_recipe = create_model("Recipe", __base__=Recipe, label_smoothing=(float, 0.0))
    newer_cell = create_model(
        "Cell", __base__=Cell, recipe=(newer_recipe, newer_recipe()), note=(str | None, None)
    )
    content = make_cell().model_dump()
    assert newer_cell(**content).id == make_cell().id
    content["recipe"]["label_smoothing"] = 0.1
    assert newer_cell(**content).id != make_cell().id


def test_pinned_id() -> None:
    """Changes only when ids of finished cells would change: a reason to think twice."""
    assert make_cell().id == "rooms-hrnet18-degmix-pcgrad-s0-612a32b0f0"


def test_recipe_refuses_uneven_micro_batches() -> None:
    with pytest.raises(ValidationError, match="`batch_size` must be a multiple of `accumulate`, got 8 and 3"):
        Recipe(accumulate=3)
    with pytest.raises(ValidationError):
        Recipe(iterations=0)


def test_cell_survives_json() -> None:
    cell = make_cell()
    again = Cell.model_validate_json(cell.model_dump_json())
    assert again == cell
    assert again.id == cell.id

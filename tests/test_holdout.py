"""Training images that are held out: which they are, what they are read as, and what a cell makes of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from cells_factory import make_cell
from conftest import TINY_PLUGINS
from mtlbench.datasets.layouts import write_pascal_context
from mtlbench.datasets.pascal_context import PASCALContext
from mtlbench.datasets.rooms import Rooms
from pydantic import ValidationError

from mtlbench import holdout, preflight
from mtlbench.building import build_dataset, evaluation_images, training_images
from mtlbench.cell import EXIT_DONE, run_cell
from mtlbench.collect import collect
from mtlbench.data import Dataset
from mtlbench.errors import MtlbenchError
from mtlbench.estimate import steps_of
from mtlbench.folder import Job
from mtlbench.plan import Row
from mtlbench.row_records import AXES
from mtlbench.spec import Cell, Choice, Recipe
from mtlbench.store import Runs

pytestmark = pytest.mark.usefixtures("undisturbed")

TINY = Choice(name="tiny", options={"images": 10})


def tiny_cell(share: float = 0.3, **recipe: int) -> Cell:
    recipe = {"iterations": 4, "batch_size": 4, **recipe}
    cell = make_cell("semseg", "depth").changed(dataset=TINY, recipe=Recipe(**recipe))
    return cell.held_out(share)


def ids(dataset: Dataset) -> list[str]:
    return [dataset[i]["id"] for i in range(len(dataset))]


def test_the_choice_is_fixed_and_spread() -> None:
    """Another choice would make results of the same id those of other images."""
    assert holdout.choose(10, 0.3) == [0, 3, 8]
    chosen = holdout.choose(1000, 0.2)
    assert len(chosen) == 200
    assert set(holdout.choose(1000, 0.1)) < set(chosen)
    assert all(20 < sum(start <= c < start + 200 for c in chosen) < 60 for start in range(0, 1000, 200))


@pytest.mark.parametrize(("images", "share"), [(1, 0.5), (10, 0.01), (10, 0.99)])
def test_shares_that_leave_nothing(images: int, share: float) -> None:
    with pytest.raises(MtlbenchError, match=rf"`holdout` must keep .* got {share} of {images}"):
        holdout.choose(images, share)


def test_both_parts_are_the_training_images() -> None:
    whole = build_dataset(TINY, "train", ("depth",))
    trained, scored = training_images(tiny_cell(), ("depth",)), evaluation_images(tiny_cell())
    assert len(scored) == 3
    assert sorted(ids(trained) + ids(scored)) == ids(whole)
    assert ids(evaluation_images(tiny_cell().changed(seed=7, tasks=("depth",)))) == ids(scored)
    first = next(i for i in range(10) if whole[i]["id"] == scored[0]["id"])
    assert torch.equal(scored[0]["depth"], whole[first]["depth"])
    assert set(scored[0]) >= {"semseg", "depth"}
    assert len(evaluation_images(tiny_cell(0))) == 10


def test_a_part_in_another_process(tmp_path: Path) -> None:
    rooms = Rooms("train", ("depth",), root=str(tmp_path), train=4, val=1, size="32x48")
    part = holdout.split(rooms, 0.5)[1]
    content = pickle.dumps(part)
    assert len(content) < 20_000
    again = pickle.loads(content)
    assert again.size == (32, 48)
    assert torch.equal(again[1]["depth"], part[1]["depth"])


def test_ids() -> None:
    cell = make_cell("depth", start=make_cell("semseg"))
    assert cell.held_out(0).id == cell.id
    held_out = cell.held_out(0.2)
    assert held_out.id != cell.id
    assert [parent.holdout for parent in held_out.parents] == [0.2]
    assert held_out.kind != cell.kind
    assert [c.id for c in held_out.with_seeds([3]).values()] == [cell.with_seeds([3])[3].held_out(0.2).id]
    assert Cell.model_validate_json(held_out.model_dump_json()).id == held_out.id
    with pytest.raises(ValidationError, match="`holdout` must be that of the cell that this one starts from"):
        Cell.model_validate({**held_out.model_dump(), "holdout": 0.3})


def test_a_batch_must_fit_into_what_is_left(tmp_path: Path) -> None:
    preflight.check_data([tiny_cell(batch_size=7)])
    with pytest.raises(MtlbenchError, match="at most the number of training images, got 8 of 7 in tiny"):
        preflight.check_data([tiny_cell(batch_size=8)])
    rooms = Choice(name="rooms", options={"root": str(tmp_path), "train": 10})
    with pytest.raises(MtlbenchError, match="got 8 of 7 in rooms"):
        preflight.check_parts([tiny_cell(batch_size=8).changed(dataset=rooms)])
    assert not list(tmp_path.iterdir()), "nothing is rendered before that"


def test_epochs_are_of_what_is_left() -> None:
    assert steps_of(tiny_cell(0.0, batch_size=2, epochs=3)) == 15
    assert steps_of(tiny_cell(0.3, batch_size=2, epochs=3)) == 9


def test_pascal_is_read_as_for_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boundaries are outlined in another way, from files and beside decoded samples; tasks that leave images
    out have the same ones held out.
    """
    root = str(tmp_path / "pascal")
    write_pascal_context(tmp_path / "pascal", train=6, val=2, size=(50, 67))
    tasks = tuple(PASCALContext.tasks)
    trained = PASCALContext("train", tasks, root=root)
    scored = trained.as_evaluated()
    assert not torch.equal(scored[0]["edge"], trained[0]["edge"])
    PASCALContext.cache(root=root)
    kept = PASCALContext("train", tasks, root=root)
    assert kept._decoded is not None
    for sample, expected in ((kept.as_evaluated()[0], scored[0]), (kept[0], trained[0])):
        assert sample.keys() == expected.keys()
        assert all(torch.equal(sample[task], expected[task]) for task in tasks)
    monkeypatch.setattr("mtlbench.datasets.pascal_context.ids_with_people", lambda root, ids: ids[:5])
    parts = PASCALContext("train", ("human_parts",), root=root)
    (_, some), (left, same) = holdout.split(trained, 0.5), holdout.split(parts, 0.5)
    assert ids(some) == ids(same)
    assert len(same) == 3
    assert set(same[0]) == {"id", "image", "human_parts"}
    assert set(ids(left)) == set(parts.ids) - set(ids(same))


def test_a_cell_that_holds_images_out(tmp_path: Path) -> None:
    runs, cell = Runs(tmp_path), tiny_cell(batch_size=2, epochs=2)
    folder = runs.folder(cell)
    row = Row("candidate", dict.fromkeys(AXES, "x"), cell.tasks, (cell.tasks,), {0: [cell]})
    runs.save_grid("tiny", [row.record()])
    assert run_cell(Job(cell=cell, folder=folder.path, plugins=(str(TINY_PLUGINS),))) == EXIT_DONE
    result = folder.result()
    assert result is not None
    assert result.images == {"train": 7, "held_out": 3}
    assert set(result.data_checksums) == {"train"}
    last = folder.last_line()
    assert last is not None
    assert last["step"] == 6
    assert {place.name for place in folder.predictions.iterdir()} == {"0000", "0003", "0008"}
    caption = collect(runs, "tiny").captions["dataset"]
    assert caption == "tiny (images=10) (7 training, scored on 3 more of the training images, held out)"

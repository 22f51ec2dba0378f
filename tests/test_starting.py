"""Networks that start from the weights of others."""

from pathlib import Path

import pytest
import torch
from cells_factory import make_cell, make_result

from mtlbench import checkpoint
from mtlbench.building import build_network
from mtlbench.errors import MtlbenchError
from mtlbench.folder import RunFolder
from mtlbench.model import Method
from mtlbench.portable import Weights
from mtlbench.registry import Registry
from mtlbench.spec import Cell, Start
from mtlbench.starting import start_from


def network(registry: Registry, *tasks: str, seed: int = 0) -> Method:
    known = registry.load("dataset", "tiny").tasks
    return build_network(make_cell(*tasks, seed=seed), {name: known[name] for name in tasks})


@pytest.fixture
def base(tmp_path: Path, tiny_registry: Registry) -> RunFolder:
    """The weights that a network for semseg and depth ended with; its depth head was never trained."""
    folder = RunFolder(tmp_path / "base")
    made = network(tiny_registry, "semseg", "depth")
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "depth" not in name:
                parameter += 1
    checkpoint.save(folder.weights, Weights.of(made).saved())
    return folder


def start(cell: Cell, trains: str) -> Start:
    return Start(cell=cell, trains=trains)  # type: ignore[arg-type]


def test_known_weights_are_taken_over_and_new_heads_stay(base: RunFolder, tiny_registry: Registry) -> None:
    made = network(tiny_registry, "semseg", "depth", "edge")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    found = start_from(made, start(make_cell("semseg", "depth"), "all"), base)
    theirs = checkpoint.load(base.weights)
    assert theirs is not None
    for name, value in made.state_dict().items():
        assert value.equal(theirs["network"].get(name, before[name])), name
    assert found["cell"] == make_cell("semseg", "depth").id
    assert found["new"]
    assert all("edge" in name for name in found["new"])
    assert all(p.requires_grad for p in made.parameters())


@pytest.mark.parametrize("tasks", [("semseg", "depth", "edge"), ("semseg", "depth")])
def test_only_what_is_new_or_untrained_goes_on_training(
    base: RunFolder, tiny_registry: Registry, tasks: tuple[str, ...]
) -> None:
    made = network(tiny_registry, *tasks)
    start_from(made, start(make_cell("semseg", "depth"), "new"), base)
    made.train()
    training = {name for name, p in made.named_parameters() if p.requires_grad}
    assert training
    assert all(("edge" in name) == ("edge" in tasks) or "depth" in name for name in training)
    assert not any("semseg" in name or "backbone" in name for name in training)
    assert not made.backbone.training


def test_the_decoder_alone_goes_on_training(base: RunFolder, tiny_registry: Registry) -> None:
    made = network(tiny_registry, "semseg", "edge")
    start_from(made, start(make_cell("semseg", "depth"), "decoder"), base)
    made.train()
    for name, parameter in made.named_parameters():
        assert parameter.requires_grad == (not name.startswith("backbone.")), name
    images = torch.rand(2, 3, 16, 24)
    assert made.backbone(images)[0].equal(made.backbone(images)[0]), "no dropout in what is frozen"


def test_weights_that_are_missing_or_fit_nowhere(
    base: RunFolder, tiny_registry: Registry, tmp_path: Path
) -> None:
    made = network(tiny_registry, "semseg")
    with pytest.raises(MtlbenchError, match=r"final.pt is missing: the cell that this one starts from"):
        start_from(made, start(make_cell(), "all"), RunFolder(tmp_path / "nowhere"))
    checkpoint.save(base.weights, Weights({"other": torch.zeros(3)}, {}, {}).saved())
    with pytest.raises(MtlbenchError, match="no weight of tiny-tiny"):
        start_from(made, start(make_cell(), "all"), base)


def test_damaged_final_weights_are_made_anew_from_the_last_checkpoint(
    base: RunFolder, tiny_registry: Registry
) -> None:
    cell = make_cell("semseg", "depth")
    whole = checkpoint.load(base.weights)
    assert whole is not None
    with base.weights.open("r+b") as file:
        file.truncate(500)
    checkpoint.save(base.checkpoint, {"step": 7, "network": whole["network"]})
    made = network(tiny_registry, "semseg", "depth")
    with pytest.raises(MtlbenchError, match="has to run again"):  # it is not done
        start_from(made, start(cell, "all"), base)
    base.finish(make_result(cell))
    with pytest.raises(MtlbenchError, match="has to run again"):  # nor are these its last weights
        start_from(made, start(cell, "all"), base)
    checkpoint.save(base.checkpoint, {"step": cell.recipe.iterations, "network": whole["network"]})
    start_from(made, start(cell, "all"), base)
    for name, value in made.state_dict().items():
        assert value.equal(whole["network"][name]), name
    assert checkpoint.load(base.weights) is not None

"""What stages of protocols need of every method: weights that belong to tasks, tasks that are left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from mtlbench.methods.atrc.atrc import ATRC
from mtlbench.methods.invpt import InvPT
from mtlbench.methods.mti_net import MTINet
from mtlbench.methods.multi_task import MultiTask
from torch import Tensor, nn
from trainings import Garbage, parameters, trainer_of

from mtlbench.building import build_dataset
from mtlbench.data import Dataset
from mtlbench.forward import predictions
from mtlbench.graph import reached_leaves
from mtlbench.model import Method, Outputs
from mtlbench.portable import Weights, take_over
from mtlbench.registry import registry
from mtlbench.spec import Choice, Start
from mtlbench.starting import start_from
from mtlbench.tasks import Task
from mtlbench.testing import TinyBackbone, tiny_tasks
from mtlbench.testing.methods import check_added_tasks, check_task_order
from mtlbench.training import Trainer

TASKS = ("semseg", "depth", "normals")
OLD = ("depth", "normals")
"""`semseg` comes before them."""
SMALL: dict[str, dict[str, Any]] = {
    "pad_net": {"channels": 8},
    "mti_net": {},
    "invpt": {"embed_dim": 16, "extra_channels": 16},
    "atrc": {},
    "atrc_search": {},
    "degmix": {"dim": 16, "depth": 1},
}


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    registry.add_file(TINY_PLUGINS)
    return build_dataset(Choice(name="tiny"), "train", TASKS)


def trained(folder: Path, dataset: Dataset, name: str, balancer: str = "equal", **changes: Any) -> Trainer:
    method = Choice(name=name, options=SMALL.get(name, {}))
    trainer = trainer_of(
        folder, dataset, balancer, method=method, **{"tasks": TASKS, "iterations": 2} | changes
    )
    trainer.train()
    return trainer


def of(*names: str) -> dict[str, Task]:
    return {name: tiny_tasks()[name] for name in names}


@pytest.mark.parametrize(
    ("method", "options", "entry", "axis", "order"),
    [
        (InvPT, SMALL["invpt"], "pyramid.norms.1.weight", 0, TASKS),
        (ATRC, {"genotype": "local"}, "out_proj.depth.conv.weight", 1, TASKS),
        (MTINet, {}, "propagation.2.reduce.conv1.weight", 1, ("semseg", "normals", "depth")),
    ],
    ids=["invpt", "atrc", "mti_net"],
)
def test_blocks_of_one_tensor_go_to_their_tasks(
    method: Any, options: dict[str, Any], entry: str, axis: int, order: tuple[str, ...]
) -> None:
    old: Method = method(TinyBackbone(), of(*OLD), **options)
    new: Method = method(TinyBackbone(), of(*TASKS), **options)
    with torch.no_grad():
        for network, start in ((old, 0.0), (new, 1000.0)):
            values = network.get_parameter(entry)
            values.copy_(start + torch.arange(values.numel()).view(values.shape))
    before, theirs = (n.get_parameter(entry).detach().clone() for n in (new, old))
    found = take_over(new, Weights.of(old))
    blocks = dict(zip(order, new.get_parameter(entry).chunk(3, axis), strict=True))
    assert f"{entry}[semseg]" in found.new
    assert blocks["semseg"].equal(before.chunk(3, axis)[order.index("semseg")])
    for task, block in zip([t for t in order if t in OLD], theirs.chunk(2, axis), strict=True):
        assert blocks[task].equal(block), task


def test_weights_for_something_else_of_the_same_shape_start_anew() -> None:
    """With `sal`, `auto` takes contexts and directions of normals to be those of PASCAL-Context."""
    known, more = of("semseg", "normals", "edge"), registry.load("dataset", "rooms").tasks
    old, new = (ATRC(TinyBackbone(), tasks) for tasks in (known, known | {"sal": more["sal"]}))
    kinds = {(t, s): (old.genotype[t][s], new.genotype[t][s]) for t in known for s in known}
    found = {name.partition(" (")[0] for name in take_over(new, Weights.of(old)).new}
    assert "aux_logits.normals.weight" in found
    assert "aux_conv.normals.conv.weight" not in found
    for (target, source), (before, after) in kinds.items():
        started_anew = f"contexts.{target}.{source}.value.conv.weight" in found
        assert started_anew == (before != after != 0), (target, source)
    assert kinds["semseg", "semseg"][0] == kinds["semseg", "semseg"][1]
    assert kinds["normals", "semseg"][0] != kinds["normals", "semseg"][1]


class ByPosition(MultiTask):
    """Its scales are counted."""

    def __init__(self, backbone: Any, tasks: Any) -> None:
        super().__init__(backbone, tasks)
        self.scales = nn.ParameterList(torch.rand(()) for _ in tasks)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        final = super().decode(features, size).final
        return Outputs({t: x * s for (t, x), s in zip(final.items(), self.scales, strict=True)})


def test_the_suite_notices_weights_that_are_counted() -> None:
    with pytest.raises(AssertionError, match="weights that depend on the order of tasks"):
        check_task_order(ByPosition)
    with pytest.raises(AssertionError, match="predictions differ"):
        check_added_tasks(ByPosition)


@pytest.mark.parametrize(
    ("name", "balancer"),
    [
        ("pad_net", "uncertainty"),
        ("mti_net", "equal"),
        ("invpt", "pcgrad"),
        ("atrc", "gradnorm"),
        ("atrc", "pcgrad"),
        ("atrc_search", "equal"),
        ("degmix", "moco"),
    ],
)
def test_a_task_that_is_left_out_has_no_influence_and_does_not_train(
    name: str, balancer: str, tiny: Dataset, tmp_path: Path
) -> None:
    left = {"left_out": ("normals",), "optimizer": "adamw", "weight_decay": 0.1}
    method = Choice(name=name, options=SMALL[name])
    initial = trainer_of(tmp_path / "new", tiny, balancer, method=method, tasks=TASKS, **left).network
    trainer = trained(tmp_path / "true", tiny, name, balancer, **left)
    found = parameters(trainer)
    for key, value in parameters(
        trained(tmp_path / "odd", Garbage(tiny, "normals"), name, balancer, **left)
    ).items():
        assert value.equal(found[key]), key
    outputs = trainer.network.train()(torch.randn(2, 3, 16, 24))
    reach = {task: reached_leaves(predictions(outputs, task)) for task in TASKS}
    others = reach["semseg"] | reach["depth"]
    named = dict(trainer.network.named_parameters())
    own = [key for key, p in named.items() if p in reach["normals"] and p not in others]
    assert own
    without_effect = tuple(trainer.network.own_parameters.get("normals", ()))
    for key, value in initial.named_parameters():
        if key not in without_effect:
            assert value.equal(named[key]) == (key in own), key


@pytest.mark.parametrize("balancer", ["equal", "pcgrad", "gradnorm"])
def test_where_only_new_heads_train_old_predictions_stay(
    balancer: str, tiny: Dataset, tmp_path: Path
) -> None:
    base = trained(tmp_path / "base", tiny, "multi_task", tasks=OLD)
    trainer = trainer_of(tmp_path / "more", tiny, balancer, tasks=TASKS, iterations=2, dropout=0.3)
    start_from(trainer.network, Start(cell=base.cell, trains="new"), base.folder)
    before = parameters(trainer)
    trainer.train()
    changed = [key for key, value in parameters(trainer).items() if not value.equal(before[key])]
    assert changed
    assert all("semseg" in key for key in changed)
    images = torch.randn(2, 3, 16, 24)
    old, new = (t.network.eval()(images).final for t in (base, trainer))
    assert {task: new[task].equal(old[task]) for task in OLD} == dict.fromkeys(OLD, True)


@pytest.mark.parametrize("trains", ["all", "new", "decoder"])
def test_what_has_no_parameters_can_be_started_from(trains: Any, tiny: Dataset, tmp_path: Path) -> None:
    base = trained(tmp_path / "base", tiny, "constant", tasks=OLD)
    base.network.get_buffer("logits_depth").fill_(3.0)
    base.train()
    network = trainer_of(
        tmp_path / "more", tiny, "equal", method=Choice(name="constant"), tasks=TASKS
    ).network
    found = start_from(network, Start(cell=base.cell, trains=trains), base.folder)
    assert found["new"] == ["logits_semseg"]
    assert network.get_buffer("logits_depth").tolist() == [3.0]


def test_a_search_goes_on_where_only_what_is_new_trains(tiny: Dataset, tmp_path: Path) -> None:
    base = trained(tmp_path / "base", tiny, "atrc_search", left_out=("normals",))
    method = Choice(name="atrc_search")
    trainer = trainer_of(tmp_path / "then", tiny, "equal", method=method, tasks=TASKS, iterations=2)
    start_from(trainer.network, Start(cell=base.cell, trains="new"), base.folder)
    before = parameters(trainer)
    trainer.train()
    weights = {key: value for key, value in parameters(trainer).items() if key.endswith("arch_param")}
    moved = {key.split(".")[1] for key, value in weights.items() if not value.equal(before[key])}
    assert moved == {"normals"}

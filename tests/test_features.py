"""Kept features: the same training, to the bit, with a backbone that runs for one epoch only."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import TINY_PLUGINS

from mtlbench import checkpoint
from mtlbench.building import build_dataset, build_network
from mtlbench.cell import EXIT_INTERRUPTED, run_cell
from mtlbench.config import load_grid
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import EXIT_DONE
from mtlbench.features import KeptFeatures, why_not
from mtlbench.folder import Job, RunFolder
from mtlbench.profiling.networks import tasks_of
from mtlbench.registry import Registry, registry
from mtlbench.spec import Cell, Choice, Execution, Recipe
from mtlbench.training import Trainer

pytestmark = pytest.mark.usefixtures("undisturbed")

IMAGES, BATCH, STEPS = 8, 2, 10
DECODER = Choice(name="decoder")


def make_cell(root: Path, tuning: Choice, **recipe: Any) -> Cell:
    options = {"root": str(root / "rooms"), "train": IMAGES, "val": 2, "size": "32x48"}
    return Cell(
        dataset=Choice(name="rooms", options=options),
        tasks=("semseg", "depth"),
        backbone=Choice(name="tiny"),
        method=Choice(name="multi_task", options={"head_channels": 4}),
        balancer=Choice(name="pcgrad"),
        tuning=tuning,
        recipe=Recipe(**{"iterations": STEPS, "batch_size": BATCH, "augment": "none", **recipe}),
    )


@pytest.fixture
def computed(tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that backbones compute."""
    backbone = type(registry.load("backbone", "tiny")())
    sizes, forward = [], backbone.forward

    def noting(self: Any, images: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(backbone, "forward", noting)
    return sizes


def run(cell: Cell, folder: Path, gigabytes: float, expected: int = EXIT_DONE) -> RunFolder:
    execution = Execution(cache_features=gigabytes, gallery=0)
    job = Job(cell=cell, folder=folder, execution=execution, plugins=(str(TINY_PLUGINS),))
    assert run_cell(job) == expected
    return RunFolder(folder)


def ended(folder: RunFolder) -> dict[str, Any]:
    result, state = folder.result(), checkpoint.load(folder.checkpoint)
    assert result is not None
    assert state is not None
    return {"scores": result.scores, **{name: value.tolist() for name, value in state["network"].items()}}


def test_results_are_the_same_to_the_bit(tmp_path: Path, computed: list[int]) -> None:
    cell = make_cell(tmp_path, DECODER)
    plain = run(cell, tmp_path / "plain", 0)
    assert computed.count(BATCH) == STEPS + 1  # and once, as many validation images
    computed.clear()
    kept = run(cell, tmp_path / "kept", 1)
    assert computed.count(BATCH) == IMAGES / BATCH + 1
    assert ended(plain) == ended(kept)


def test_a_stopped_cell_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(tmp_path, DECODER)
    straight = run(cell, tmp_path / "straight", 1)
    step = Trainer._step

    def interrupted(self: Trainer, *args: Any, **named: Any) -> Any:
        if self.step == STEPS // 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", interrupted)
        run(cell, tmp_path / "stopped", 1, EXIT_INTERRUPTED)
    assert ended(run(cell, tmp_path / "stopped", 1)) == ended(straight)


def test_too_much_for_the_room(tmp_path: Path, computed: list[int], caplog: pytest.LogCaptureFixture) -> None:
    cell = make_cell(tmp_path, DECODER, iterations=2 * IMAGES // BATCH)
    run(cell, tmp_path / "cell", 1e-5)
    assert computed.count(BATCH) == cell.recipe.iterations + 1
    assert f"those of {IMAGES} images take" in caplog.text


@pytest.mark.parametrize(
    ("tuning", "augment", "reason"),
    [
        (DECODER, "none", None),
        (DECODER, "default", "`recipe.augment: flip` changes images at random"),
        (DECODER, "atrc", "`recipe.augment: atrc` changes images at random"),
        (Choice(name="decoder", options={"backbone_mode": "train"}), "none", "in training mode"),
        (
            Choice(name="bitfit", options={"backbone_mode": "eval"}),
            "none",
            "something in the backbone trains",
        ),
        (Choice(name="full"), "none", "something in the backbone trains"),
    ],
)
def test_when_features_change(
    tuning: Choice, augment: str, reason: str | None, tmp_path: Path, tiny_registry: Registry
) -> None:
    cell = make_cell(tmp_path, tuning, augment=augment)
    network = build_network(cell, tasks_of(cell)).train()
    found = why_not(network, build_dataset(cell.dataset, "train", cell.tasks), cell.recipe)
    assert found == reason if reason is None else reason in str(found)


def test_other_images_are_computed(tiny_registry: Registry, tmp_path: Path) -> None:
    """Neither a batch that was not announced nor other images in its place are answered from memory."""
    cell = make_cell(tmp_path, DECODER)
    network = build_network(cell, tasks_of(cell)).train()
    raw = torch.randint(256, (2, 2, 3, 16, 24), dtype=torch.uint8)
    first, second = (network.normalise(x) for x in raw)
    expected = [[x.clone() for x in network.backbone(images)] for images in (first, second)]
    kept = KeptFeatures(network, 4, 1.0)
    kept.announce(raw[0], first)
    for images, maps in ((first, expected[0]), (second, expected[1]), (first, expected[0])):
        found = network.backbone(images)
        assert all(torch.equal(x, y) for x, y in zip(found, maps, strict=True))
        found[0].zero_()  # what a decoder does with them stays outside
    mixed = torch.stack([raw[0, 1], raw[1, 0]])
    kept.announce(mixed, network.normalise(mixed))
    assert torch.equal(network.backbone(kept._images)[0][1], expected[1][0][0])
    kept.close()
    assert network.backbone.forward.__func__ is type(network.backbone).forward


def test_a_grid_whose_images_always_change_is_told(tmp_path: Path, tiny_registry: Registry) -> None:
    grid = {
        "dataset": "rooms",
        "backbone": "tiny",
        "method": "multi_task",
        "tuning": "decoder",
        "recipe": {"augment": "flip"},
        "execution": {"cache_features": 1},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    with pytest.raises(
        MtlbenchError, match=r"execution.cache_features: needs .* `flip` of rooms .* at random"
    ):
        load_grid(str(tmp_path / "grid.yaml"), registry)
    load_grid(str(tmp_path / "grid.yaml"), registry, overrides=["recipe.augment=none"])


def test_nothing_is_computed_or_kept_below_what_trains(tmp_path: Path, tiny_registry: Registry) -> None:
    """Frozen weights get no gradient, and no graph is made before the first part that trains."""
    saved: list[torch.Tensor] = []

    def note(x: torch.Tensor) -> torch.Tensor:
        saved.append(x)
        return x

    graphs = {}
    for tuning in ("full", "decoder", "lora"):
        options = {"targets": ("stages.3",)} if tuning == "lora" else {}
        network = build_network(*_parts(make_cell(tmp_path, Choice(name=tuning, options=options)))).train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            maps = network.backbone(torch.rand(1, 3, 32, 48))
        graphs[tuning] = len(saved)
        saved.clear()
        assert [x.requires_grad for x in maps] == [tuning == "full"] * 3 + [tuning != "decoder"]
        outputs = network(torch.rand(1, 3, 32, 48)).final
        torch.stack([x.mean() for x in outputs.values()]).sum().backward()
        assert all((p.grad is not None) == p.requires_grad for p in network.parameters())
    assert graphs["decoder"] == 0 < graphs["lora"] < graphs["full"]


def _parts(cell: Cell) -> tuple[Cell, Any]:
    return cell, tasks_of(cell)

"""Every balancer in whole trainings, in one process: what they leave, resume, micro-batches, precision."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainings import KINDS, TASKS, Sparse, make_rooms, parameters, trainer_of

import mtlbench.training
from mtlbench import checkpoint
from mtlbench.balancing import Scalarization, Weighting
from mtlbench.data import Dataset
from mtlbench.precision import make_scaler
from mtlbench.registry import Registry, registry
from mtlbench.training import Interrupted, Trainer

BUILT_IN = [p.name for p in registry.plugins("balancer") if str(p.target).startswith("mtlbench.balancers.")]
kinds = pytest.mark.parametrize("balancer", KINDS)
State = dict[str, Any]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_rooms(tmp_path_factory.mktemp("rooms"))


@pytest.fixture(autouse=True)
def plugins(tiny_registry: Registry) -> None:
    """The tiny backbone."""


def history(trainer: Trainer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trainer.folder.history.read_text().splitlines()]


def differences(first: Any, second: Any, where: str = "") -> Iterator[str]:
    """Where two nested states are not the same, bit for bit."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            yield from differences(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            yield from differences(a, b, f"{where}/{i}")
    elif isinstance(first, Tensor):
        if first.dtype != second.dtype or not torch.equal(first.nan_to_num(-7.0), second.nan_to_num(-7.0)):
            yield where
    elif first != second:
        yield where


def state_of(trainer: Trainer) -> State:
    """All that the last checkpoint holds but what was timed."""
    state = checkpoint.load(trainer.folder.checkpoint)
    assert state is not None
    state.pop("seconds")
    (state["engine"].get("plan") or {}).pop("plain", None)
    return state


@pytest.mark.parametrize("balancer", BUILT_IN)
def test_every_balancer_trains(balancer: str, rooms: Dataset, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, rooms, balancer)
    before = parameters(trainer)
    trainer.train()
    still = [name for name, value in parameters(trainer).items() if torch.equal(value, before[name])]
    assert not still
    assert all(value.isfinite().all() for value in parameters(trainer).values())
    lines = history(trainer)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    by_gradient = not isinstance(trainer.balancer, Scalarization)
    for line in lines:
        assert line["losses"].keys() == set(TASKS)
        assert all(isfinite(value) for value in line["losses"].values())
        assert line["failures"] == 0
        assert 0 <= line["balancing"]["share"] <= 1
        assert set(line["weights"]) in (set(TASKS), set())
        assert set(line["norms"]) == (set(TASKS) if by_gradient else set())
        assert len(line["cosines"]) == (6 if by_gradient else 0)
        assert by_gradient == (line["conflicts"] is not None) == (line["condition"] is not None)
    has_weights = isinstance(trainer.balancer, Scalarization | Weighting) or balancer in ("modo", "sdmgrad")
    assert bool(lines[0]["weights"]) == has_weights
    assert trainer.balancing.at == (trainer.balancer.at if by_gradient else None)


RESUMED: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in BUILT_IN),
    ("dwa", {"window": 2}),
    ("stch", {"warmup": 1}),
    ("pcgrad", {"every": 4}),
    ("imtl", {"every": 2}),
    ("nash_mtl", {"every": 4, "at": "representation"}),
    ("gradnorm", {"initial": "epoch", "every": 2}),
    ("graddrop", {"variant": "parameter"}),
]


PASSES = [("sequential", *case) for case in RESUMED]
PASSES += [("auto", *case) for case in RESUMED if case[0] in ("pcgrad", "nash_mtl", "moco", "modo")]


@pytest.mark.parametrize(("passes", "balancer", "options"), PASSES, ids=str)
def test_resume(passes: str, balancer: str, options: dict[str, Any], rooms: Dataset, tmp_path: Path) -> None:
    """From a copy of the third step's checkpoint on, which is no multiple of any `every`."""
    data = Sparse(rooms, "depth")
    how = {"passes": passes, "checkpoint_seconds": 1e-9}

    def make(folder: str) -> Trainer:
        return trainer_of(tmp_path / folder, data, balancer, options, dropout=0.2, execution=how)

    whole, resumed = make("whole"), make("resumed")

    def copy_the_third() -> bool:
        if whole.step == 4:  # whose checkpoint is written after this
            resumed.folder.checkpoint.parent.mkdir(parents=True)
            shutil.copy(whole.folder.checkpoint, resumed.folder.checkpoint)
        return False

    whole.stop = copy_the_third
    whole.train()
    counts = [len(line["losses"]) for line in history(whole)]
    assert {3, 4} <= set(counts), "a batch with and one without depth are needed"
    resumed.train()
    assert [line["step"] for line in history(resumed)] == [4, 5, 6]
    assert not list(differences(state_of(resumed), state_of(whole)))
    assert not list(differences(parameters(resumed), parameters(whole)))


def test_stopped_twice_and_gone_on(rooms: Dataset, tmp_path: Path) -> None:
    whole = trainer_of(tmp_path / "whole", rooms, "moco", dropout=0.2)
    whole.train()
    for end in (2, 3, None):
        part = trainer_of(tmp_path / "parts", rooms, "moco", dropout=0.2)
        part.stop = lambda part=part, end=end: part.step == end  # type: ignore[misc]
        if end is None:
            part.train()
        else:
            with pytest.raises(Interrupted):
                part.train()
    assert [line["losses"] for line in history(part)] == [line["losses"] for line in history(whole)]
    assert not list(differences(state_of(part)["network"], state_of(whole)["network"]))
    assert not list(differences(state_of(part)["balancer"], state_of(whole)["balancer"]))


@pytest.mark.parametrize(("micro", "sparse"), [(2, False), (4, True)], ids=["all labels", "some labels"])
@kinds
def test_micro_batches_are_one_batch(
    balancer: str, micro: int, sparse: bool, rooms: Dataset, tmp_path: Path
) -> None:
    data = Sparse(rooms, "depth") if sparse else rooms
    found = {}
    for parts in (1, micro):
        trainer = trainer_of(
            tmp_path / str(parts),
            data,
            balancer,
            KINDS[balancer],
            norms=False,
            batch_size=4,
            iterations=3,
            accumulate=parts,
            clip=1.0,
        )
        trainer.train()
        found[parts] = (parameters(trainer), [line["losses"] for line in history(trainer)])
    for name, value in found[1][0].items():
        assert torch.allclose(found[micro][0][name], value, rtol=0, atol=1e-5), name
    for first, second in zip(found[1][1], found[micro][1], strict=True):
        assert second == pytest.approx(first, abs=1e-5)


def begin_with_factor(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """On the losses, in float16."""

    def make(*args: Any) -> torch.amp.GradScaler:
        scaler = make_scaler(*args)
        scaler.load_state_dict({**scaler.state_dict(), "scale": factor} if scaler.is_enabled() else {})
        return scaler

    monkeypatch.setattr(mtlbench.training, "make_scaler", make)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@kinds
def test_half_precision(
    balancer: str, precision: str, rooms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_with_factor(monkeypatch, 256.0)
    half, full = (
        trainer_of(tmp_path / p, rooms, balancer, KINDS[balancer], precision=p, iterations=3)
        for p in (precision, "fp32")
    )
    before = parameters(half)
    for trainer in (half, full):
        trainer.train()
    assert not [name for name, value in parameters(half).items() if torch.equal(value, before[name])]
    for found, exact in zip(history(half), history(full), strict=True):
        assert found["losses"] == pytest.approx(exact["losses"], rel=0.05)
        assert found["failures"] == 0


@kinds
def test_an_overflow_changes_nothing(
    balancer: str, rooms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step of float16 has too large a factor on the losses: it is skipped by all that learn."""
    begin_with_factor(monkeypatch, 1e38)
    trainer = trainer_of(tmp_path, rooms, balancer, KINDS[balancer], precision="fp16", iterations=1)
    before, learnt = parameters(trainer), copy.deepcopy(trainer.balancer.state_by_task())
    trainer.train()
    assert not list(differences(parameters(trainer), before))
    assert not list(differences(trainer.balancer.state_by_task(), learnt))
    assert trainer.engine.failures == 0
    assert trainer.scaler.get_scale() == pytest.approx(0.5e38)


@pytest.mark.parametrize("frozen", ["backbone", "late stages"])
@pytest.mark.parametrize("balancer", ["pcgrad", "imtl", "gradnorm", "graddrop", "moco", "excess_mtl", "modo"])
def test_frozen_backbones(balancer: str, frozen: str, rooms: Dataset, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, rooms, balancer)
    kept = trainer.network.backbone if frozen == "backbone" else trainer.network.backbone.stages[2:]
    kept.requires_grad_(False)
    names = {name for name, p in trainer.network.named_parameters() if not p.requires_grad}
    before = parameters(trainer)
    trainer.train()
    still = {name for name, value in parameters(trainer).items() if torch.equal(value, before[name])}
    assert still == names
    for line in history(trainer):
        assert all(isfinite(value) for value in line["losses"].values())
        assert line["condition"] is None or 1 <= line["condition"] <= 1e16

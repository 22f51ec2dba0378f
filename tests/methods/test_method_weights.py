"""Checkpoints of whole networks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import Case, cases, compare
from golden_methods import module_of, run
from mtlbench.methods.multi_task import MultiTask

from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import load_method_weights
from mtlbench.testing import TinyBackbone, tiny_tasks


def network() -> MultiTask:
    return MultiTask(TinyBackbone(), tiny_tasks())


def test_our_own_checkpoint(tmp_path: Path) -> None:
    source, target = network(), network()
    torch.save({"model": source.state_dict()}, tmp_path / "ours.pth")
    load_method_weights(target, str(tmp_path / "ours.pth"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_a_published_lightning_checkpoint(tmp_path: Path) -> None:
    source, target = network(), network()
    state = {k if k.startswith("backbone.") else f"head.{k}": v for k, v in source.state_dict().items()}
    state["criterion.loss_dict.edge.aux.weight"] = torch.zeros(2)
    torch.save({"state_dict": state}, tmp_path / "published.pth")
    load_method_weights(target, str(tmp_path / "published.pth"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


LAYOUTS: dict[str, Any] = {
    "plain": lambda state: state,
    "parallel": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
    "lightning": lambda state: {"state_dict": state, "callbacks": {Path: 1}, "hyper_parameters": {"lr": 0.1}},
}
MODELS = [
    case
    for case in cases()
    if case.values[0].kind == "model" and all("mask" in part for part in case.values[0].spec["not_filled"])
]
"""Those of which all parameters are known."""


@pytest.mark.parametrize(
    ("case", "layout"),
    [pytest.param(*case.values, list(LAYOUTS)[i % 3], id=str(case.id)) for i, case in enumerate(MODELS)],
)
def test_released_checkpoints(case: Case, layout: str, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](case.published_state()), tmp_path / "released.ckpt")
    network = module_of(case).build(case)
    load_method_weights(network, str(tmp_path / "released.ckpt"))
    compare(case, run(case, network.eval()))


def test_all_layouts_are_tested() -> None:
    assert len(MODELS) >= len(LAYOUTS)


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    torch.save(MultiTask(TinyBackbone(), tiny_tasks(), head_channels=3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        MtlbenchError, match=r"bottleneck\.semseg\.conv\.weight: shape \(3, 80, 3, 3\) in the file"
    ):
        load_method_weights(network(), str(tmp_path / "other.pth"))

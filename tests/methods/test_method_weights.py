"""Checkpoints of whole networks."""

from pathlib import Path

import pytest
import torch
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


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    torch.save(MultiTask(TinyBackbone(), tiny_tasks(), head_channels=3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        MtlbenchError, match=r"bottleneck\.semseg\.conv\.weight: shape \(3, 80, 3, 3\) in the file"
    ):
        load_method_weights(network(), str(tmp_path / "other.pth"))

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_cases import ROOT
from torch import Tensor

from mtlbench import losses, tasks
from mtlbench.testing.filling import image

CASES = sorted((ROOT / "atrc").glob("losses.json"))
FACTORIES = {
    "semseg": lambda case: tasks.semseg(["c"] * (40 if "depth" in case["tasks"] else 21)),
    "human_parts": lambda case: tasks.human_parts(["c"] * 7),
    "sal": lambda case: tasks.sal(),
    "edge": lambda case: tasks.edge(case["edge_pos_weight"]),
    "depth": lambda case: tasks.depth(),
    "normals": lambda case: tasks.normals(),
}


def golden_labels(task: tasks.Task, position: int, height: int = 6, width: int = 8) -> Tensor:
    """As `construction` in the golden file says; 255 marks pixels without a label."""
    seed = 9000 + 20 * position
    missing = torch.from_numpy(image(seed + 1, (2, 1, height, width))) > 1.0
    if task.name == "normals":
        vectors = torch.from_numpy(image(seed, (2, 3, height, width)))
        return torch.where(missing, 255.0, vectors / vectors.norm(dim=1, keepdim=True))
    noise = torch.from_numpy(image(seed, (2, 1, height, width))).abs()
    if task.name == "depth":
        return torch.where(missing, 255.0, noise * 4)
    classes = 2 if task.name in ("sal", "edge") else task.channels
    return torch.where(missing, 255.0, ((noise * 1000) % classes).floor())[:, 0].long()


@pytest.mark.parametrize("file", CASES, ids=str)
def test_golden_losses_of_the_atrc_family(file: Any) -> None:
    for case in json.loads(file.read_text())["cases"].values():
        for position, name in enumerate(case["tasks"]):
            task = FACTORIES[name](case)
            logits = torch.from_numpy(image(9500 + 20 * position, (2, task.channels, 6, 8)))
            weighted = task.weight * task.loss(logits, golden_labels(task, position))
            assert float(weighted) == pytest.approx(case["weighted_losses"][f"{name}_final"], rel=1e-5), name


@pytest.mark.parametrize("name", list(FACTORIES))
def test_without_labels_the_loss_and_its_gradient_are_zero(name: str) -> None:
    task = FACTORIES[name]({"tasks": ["depth"], "edge_pos_weight": 0.8})
    logits = torch.randn(2, task.channels, 4, 5, requires_grad=True)
    shape = {"depth": (2, 1, 4, 5), "normals": (2, 3, 4, 5)}.get(name, (2, 4, 5))
    labels = torch.full(shape, float(task.fill)).to(torch.float32 if len(shape) == 4 else torch.uint8)
    assert not task.valid(labels).any()
    loss = task.loss(logits, labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    logits, labels = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    labels[0, 0] = 255
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    assert torch.allclose(losses.cross_entropy(logits, labels.to(torch.uint8)), expected)


def test_depth_without_meaning_is_left_out() -> None:
    labels = torch.tensor([1.0, 0.0, 255.0, float("nan"), float("inf"), -1.0]).view(1, 1, 1, 6)
    assert losses.valid_depth(labels).flatten().tolist() == [True, False, False, False, False, False]
    logits = torch.full((1, 1, 1, 6), 3.0, requires_grad=True)
    loss = losses.depth_l1(logits, labels)
    loss.backward()
    assert float(loss.detach()) == 2
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == [1, 0, 0, 0, 0, 0]

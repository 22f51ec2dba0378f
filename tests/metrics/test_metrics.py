import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mtlbench import tasks
from mtlbench.metrics import DepthError, MaxF, MeanIoU, NormalsError


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).float()


def test_miou_counts_absent_classes_as_zero() -> None:
    labels = torch.tensor([[[0, 0, 1, 255]]])
    metric = MeanIoU(3)
    metric.update(one_hot(torch.tensor([[[0, 1, 1, 2]]]), 3), labels)
    assert metric.compute() == {"miou.dataset.absent0": pytest.approx((1 / 2 + 1 / 2 + 0) / 3)}


def test_parts_leave_out_images_without_a_person() -> None:
    labels = torch.tensor([[[0, 1]], [[0, 255]]])
    predictions = one_hot(torch.tensor([[[0, 1]], [[1, 1]]]), 2)
    strict, plain = MeanIoU(2, variant="parts.atrc"), MeanIoU(2)
    for metric in (strict, plain):
        metric.update(predictions, labels)
    assert strict.compute() == {"parts.atrc": 1.0}
    assert plain.compute()["miou.dataset.absent0"] < 1


def test_max_f_against_its_definition() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 2, 8, 9), torch.randint(0, 2, (3, 8, 9))
    labels[0, :2] = 255
    metric = MaxF()
    for i in range(3):
        metric.update(logits[i : i + 1], labels[i : i + 1])
    best = 0.0
    probability, valid = logits.softmax(1)[:, 1], labels != 255
    for threshold in torch.arange(0.05, 1, 0.05):
        predicted = (probability >= threshold) & valid
        hits = float((predicted & (labels == 1)).sum())
        if hits:
            precision, recall = hits / float(predicted.sum()), hits / float((labels == 1).sum())
            best = max(best, 1.3 * precision * recall / (0.3 * precision + recall))
    assert metric.compute()["sal.maxF.dataset.b0.3"] == pytest.approx(best, rel=1e-12)


def test_max_f_without_positives_is_zero() -> None:
    metric = MaxF()
    metric.update(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
    assert metric.compute() == {"sal.maxF.dataset.b0.3": 0.0}


def test_depth_clamps_and_masks() -> None:
    metric = DepthError()
    labels = torch.tensor([2.0, 0.0, 255.0, 4.0]).view(1, 1, 2, 2)
    metric.update(torch.tensor([-1.0, 9.0, 9.0, 5.0]).view(1, 1, 2, 2), labels)
    scores = metric.compute()
    assert scores["depth.rmse.pixels"] == pytest.approx(math.sqrt((4 + 1) / 2))
    assert scores["depth.abs_rel"] == pytest.approx((1 + 0.25) / 2)


def test_angles_are_exact_for_known_vectors() -> None:
    labels = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 0]]).T.reshape(1, 3, 1, 3)
    predictions = torch.tensor([[0.0, 5, 5], [0, 0, 3], [1, 1, 1]]).T.reshape(1, 3, 1, 3)
    metric = NormalsError()
    metric.update(predictions, labels)
    assert metric.compute()["normals.mean.pixels.atan2"] == pytest.approx(22.5)


ALL = {
    "semseg": tasks.semseg(["a"] * 13),
    "human_parts": tasks.human_parts(["a"] * 7),
    "sal": tasks.sal(),
    "edge": tasks.edge(0.8),
    "depth": tasks.depth(),
    "normals": tasks.normals(),
}


def random_labels(task: tasks.Task, batch: int) -> Tensor:
    if task.name == "normals":
        return F.normalize(torch.randn(batch, 3, 6, 7), dim=1)
    if task.name == "depth":
        return torch.rand(batch, 1, 6, 7) + 0.5
    return torch.randint(0, max(task.channels, 2), (batch, 6, 7))


@pytest.mark.parametrize("task", ALL.values(), ids=ALL)
def test_batching_changes_nothing(task: tasks.Task) -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(4, task.channels, 6, 7), random_labels(task, 4)
    whole, parts = task.metric(), task.metric()
    whole.update(logits, labels)
    for i in range(4):
        parts.update(logits[i : i + 1], labels[i : i + 1])
    assert task.primary in whole.compute()
    assert whole.compute() == {k: pytest.approx(v, rel=1e-12) for k, v in parts.compute().items()}
    assert_exact_state(whole)


def assert_exact_state(metric: Metric) -> None:
    for name in metric._defaults:
        assert getattr(metric, name).dtype in (torch.int64, torch.float64), name


@pytest.mark.parametrize("task", ALL.values(), ids=ALL)
def test_no_random_constant_beats_the_task_s_constant(task: tasks.Task) -> None:
    torch.manual_seed(2)
    labels = random_labels(task, 4)
    sign = 1 if task.higher_is_better else -1

    def score(logits: Tensor) -> float:
        metric = task.metric()
        metric.update(logits.view(1, -1, 1, 1).expand(4, -1, 6, 7), labels)
        return sign * metric.compute()[task.primary]

    best = score(task.constant(labels))
    slack = 2.0 if task.name == "normals" else 1e-6  # the mean direction is near the best one, not the best
    assert all(best >= score(3 * torch.randn(task.channels)) - slack for _ in range(50))

"""Every variant against its definition, on arrays small enough to count by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from metric_cases import one_hot, scores
from torch import Tensor

from mtlbench.metrics import (
    DepthScores,
    NormalsScores,
    PartsScores,
    SaliencyScores,
    SegmentationScores,
)


def test_miou_counts_absent_classes_as_zero_or_as_nothing() -> None:
    labels = torch.tensor([[[0, 0, 1, 255]]])
    found = scores(SegmentationScores(3), one_hot(torch.tensor([[[0, 1, 1, 2]]]), 3), labels)
    assert found["miou.dataset.absent0"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert math.isnan(found["miou.dataset.absentnan"])
    assert found["miou.image"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3), "class 2 was predicted on void"
    assert found["pixacc.dataset"] == found["pixacc.image"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("void", [255, -1, -100, 3, 200])
def test_everything_that_is_no_class_is_ignored(void: int) -> None:
    labels = torch.tensor([[[0, 1, 2, void]]])
    found = scores(SegmentationScores(3), one_hot(torch.tensor([[[0, 1, 2, 1]]]), 3), labels)
    assert found["miou.dataset.absentnan"] == found["pixacc.dataset"] == 1
    assert found["miou.image"] == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_images_count_alike_whatever_their_number_of_labels() -> None:
    labels = torch.tensor([[[0, 0, 0, 0]], [[1, 255, 255, 255]], [[255, 255, 255, 255]]])
    predicted = torch.tensor([[[0, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]])
    found = scores(SegmentationScores(2), one_hot(predicted, 2), labels)
    assert found["pixacc.image"] == found["miou.image"] == pytest.approx(1 / 2), "the unlabelled one is out"
    assert found["pixacc.dataset"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("labels", "left_out"),
    [
        ([0, 0], {"parts.skip_empty_in_file", "parts.mti_online", "parts.atrc"}),
        ([0, 255], {"parts.atrc"}),
        ([255, 255], set()),  # it has no pixel that could count
        ([0, 1], set()),
    ],
)
def test_parts_rules_for_images_without_a_person(labels: list[int], left_out: set[str]) -> None:
    metric = PartsScores(2)
    metric.update(one_hot(torch.tensor([[[0, 1]]]), 2), torch.tensor([[[0, 1]]]))
    perfect = metric.compute()
    found = scores(metric, one_hot(torch.tensor([[[1, 1]]]), 2), torch.tensor([[labels]]))
    unchanged = {name for name in found if found[name] == perfect[name]}
    expected = set(found) if labels == [255, 255] else left_out
    assert unchanged == expected


def test_saliency_against_its_definitions() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 2, 8, 9), torch.randint(0, 2, (3, 8, 9))
    labels[0, :2] = 255
    metric = SaliencyScores()
    for i in range(3):
        metric.update(logits[i : i + 1], labels[i : i + 1])
    p, valid, positive = logits.softmax(1)[:, 1], labels != 255, labels == 1

    def best_f(p: Tensor) -> float:
        found = [0.0]
        for threshold in torch.arange(0.05, 1, 0.05):
            predicted = (p >= threshold) & valid
            if hits := float((predicted & positive).sum()):
                precision, recall = hits / float(predicted.sum()), hits / float(positive.sum())
                found.append(1.3 * precision * recall / (0.3 * precision + recall))
        return max(found)

    def best_image_iou(p: Tensor) -> float:
        found = []
        for threshold in np.linspace(0.2, 0.9, 15):
            predicted = (p > threshold) & valid
            hits, union = ((predicted & positive).sum((1, 2)), ((predicted | positive) & valid).sum((1, 2)))
            found.append(float((hits / union).mean()))
        return max(found)

    found = metric.compute()
    assert found["sal.maxF.dataset.b0.3"] == pytest.approx(best_f(p), rel=1e-12)
    assert found["sal.maxF.dataset.b0.3.doublesigmoid"] == pytest.approx(best_f(p.sigmoid()), rel=1e-12)
    assert found["sal.miou.image"] == pytest.approx(best_image_iou(p), rel=1e-6)
    assert found["sal.miou.image.file"] == pytest.approx(best_image_iou((255 * p).floor() / 255), rel=1e-6)


def test_saliency_without_positives() -> None:
    found = scores(SaliencyScores(), torch.full((1, 1, 2, 2), -9.0), torch.zeros(1, 2, 2, dtype=torch.long))
    assert found["sal.maxF.dataset.b0.3"] == found["sal.maxF.image.b1"] == 0
    assert found["sal.miou.image"] == 1, "nothing is salient, and nothing was found"


@pytest.mark.parametrize("p", [0.0, 0.05, 0.2, 0.5, 0.65, 0.95, 1.0])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_cuts_are_the_published_comparisons(p: float, step: int) -> None:
    """At the thresholds themselves, and one float32 above and below."""
    number = torch.tensor(p)
    number = torch.nextafter(number, torch.tensor(2.0 * step)).clamp(0, 1) if step else number
    metric = SaliencyScores()
    reached = (metric.cuts <= number)[metric.places]
    dataset, image = torch.arange(0.05, 1, 0.05), torch.from_numpy(np.linspace(0.2, 0.9, 15)).float()
    expected = [number >= dataset, number.sigmoid() >= dataset, number > image]
    assert torch.equal(reached[:53], torch.cat(expected))
    assert torch.equal(reached[53:], (255 * number).floor() / 255 > image)


def test_depth_clamps_and_masks() -> None:
    metric = DepthScores()
    labels = torch.tensor([2.0, 0.0, 255.0, 4.0, math.nan, -1.0]).view(1, 1, 2, 3)
    found = scores(metric, torch.tensor([-1.0, 9.0, 9.0, 5.0, 1.0, 1.0]).view(1, 1, 2, 3), labels)
    assert found["depth.rmse.pixels"] == pytest.approx(math.sqrt((4 + 1) / 2))
    assert found["depth.abs_rel"] == pytest.approx((1 + 0.25) / 2)
    assert found["depth.abs_err"] == found["depth.abs_err.pixels"] == pytest.approx((3 + 1) / 2)
    assert found["depth.delta1"] == 0
    assert found["depth.delta2"] == 0.5
    assert metric.masked == 4


def test_the_range_of_depth() -> None:
    labels, logits = torch.tensor([2.0, 90.0]).view(1, 1, 1, 2), torch.tensor([1.0, 100.0]).view(1, 1, 1, 2)
    found = scores(DepthScores(), logits, labels)
    assert found["depth.range.rmse"] == pytest.approx(1)
    assert found["depth.range.sq_rel"] == pytest.approx(0.5)
    assert found["depth.rmse.pixels"] > 7


@pytest.mark.parametrize("sizes", [[5], [1] * 5, [2, 3], [3, 2], [4, 1]])
def test_batch_means_group_images_whatever_the_updates(sizes: list[int]) -> None:
    torch.manual_seed(3)
    logits, labels = torch.randn(5, 1, 4, 4), torch.rand(5, 1, 4, 4) + 1
    labels[1, :, 1:] = 0
    metric, first = DepthScores(batch=2), 0
    for size in sizes:
        metric.update(logits[first : first + size], labels[first : first + size])
        metric.compute()
        first += size
    error = [
        (logits[s] - labels[s]).abs()[labels[s] > 0].mean() for s in (slice(2), slice(2, 4), slice(4, 5))
    ]
    assert metric.compute()["depth.abs_err"] == pytest.approx(float(sum(error) / 3), rel=1e-6)
    metric.reset()
    one = scores(metric, logits[:1], labels[:1])["depth.abs_err"]
    assert one == pytest.approx(float((logits[0] - labels[0]).abs().mean()), rel=1e-6)


def test_a_batch_without_labels_has_no_mean() -> None:
    labels = torch.ones(3, 1, 2, 2)
    labels[:2] = 0
    found = scores(DepthScores(batch=2), torch.ones(3, 1, 2, 2), labels)
    assert math.isnan(found["depth.abs_err"])
    assert found["depth.abs_err.pixels"] == found["depth.rmse.images"] == 0


def test_angles_are_exact_for_known_vectors() -> None:
    labels = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]).T.reshape(1, 3, 1, 4)
    predictions = torch.tensor([[0.0, 5, 5], [0, 0, 3], [0, 0, 0], [1, 1, 1]]).T.reshape(1, 3, 1, 4)
    found = scores(NormalsScores(), predictions, labels)
    assert found["normals.mean.pixels.atan2"] == pytest.approx(45), "45, 0, and 90 where nothing is said"
    assert found["normals.rmse.pixels.acos"] == found["normals.mean.pixels.acos"]
    assert found["normals.rmse.pixels.atan2"] == pytest.approx(math.sqrt((45**2 + 90**2) / 3))
    assert found["normals.median.all"] == found["normals.median.batches"] == pytest.approx(45, abs=4e-4)
    assert found["normals.30.pixels.atan2"] == pytest.approx(100 / 3)
    assert found["normals.30.all"] == pytest.approx(1 / 3)


def test_labels_that_sum_to_zero_are_dropped_where_published_code_does() -> None:
    labels = torch.tensor([[0.0, 0, 1], [math.sqrt(0.5), -math.sqrt(0.5), 0]]).T.reshape(1, 3, 1, 2)
    found = scores(NormalsScores(), torch.tensor([[0.0, 0, 1], [0, 0, 1]]).T.reshape(1, 3, 1, 2), labels)
    assert found["normals.mean.pixels.atan2"] == pytest.approx(45)
    assert found["normals.mean.all"] == found["normals.mean.batches"] == 0


def test_medians_against_sorting() -> None:
    torch.manual_seed(4)
    for pixels in (8, 9):
        logits = torch.randn(2, 3, 3, pixels)
        labels = F.normalize(torch.randn(2, 3, 3, pixels), dim=1)
        angles = F.cosine_similarity(logits, labels, dim=1).acos().rad2deg().flatten()
        found = scores(NormalsScores(), logits, labels)
        assert found["normals.median.pixels.atan2"] == pytest.approx(np.median(angles), abs=5e-4)
        assert found["normals.median.batches"] == pytest.approx(np.median(angles), abs=5e-4)

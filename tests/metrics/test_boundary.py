"""Boundary scores as a metric: padding, missing labels, exact sums."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mtlbench import tasks
from mtlbench.boundary.counts import count_image
from mtlbench.boundary.protocols import PROTOCOLS
from mtlbench.boundary.scores import best_counts
from mtlbench.boundary.truth import true_boundaries
from mtlbench.errors import MtlbenchError
from mtlbench.metrics import BoundaryLoss, BoundaryScores

each_protocol = pytest.mark.parametrize("name", PROTOCOLS)


def batch(images: int = 4, height: int = 40, width: int = 50) -> tuple[Tensor, Tensor]:
    """Logits (B, 1, H, W) that know something of the labels (B, H, W)."""
    torch.manual_seed(0)
    labels = torch.zeros(images, height, width, dtype=torch.long)
    for i in range(images):
        labels[i, 5 * i + 8, 6:-6] = 1
        labels[i, 9:-9, 20] = 1
    return 3 * labels[:, None] - 1 + torch.randn(images, 1, height, width), labels


@each_protocol
def test_scores_follow_the_protocol(name: str) -> None:
    logits, labels = batch()
    metric, protocol = BoundaryScores(name), PROTOCOLS[name]
    metric.update(logits, labels)
    kind = "edges" if name == "edge.seism.nyud" else "boundaries"
    counts = [
        count_image(
            (255 * p[0].sigmoid()).floor().byte().numpy(), true_boundaries(y.numpy() == 1, kind), protocol
        )
        for p, y in zip(logits, labels, strict=True)
    ]
    np.testing.assert_array_equal(metric.counts, sum(counts))
    np.testing.assert_array_equal(metric.best, sum(map(best_counts, counts)))
    found = metric.compute()
    assert list(found) == [f"{name}.odsF", f"{name}.oisF", f"{name}.AP", "edge.loss", "edge.loss.meter"]
    assert 0 < found[f"{name}.odsF"] <= found[f"{name}.oisF"] <= 1
    assert 0 < found[f"{name}.AP"] <= 1


@each_protocol
def test_padding_is_cut_off(name: str) -> None:
    logits, labels = batch()
    padded_logits, padded = torch.randn(4, 1, 48, 64), torch.full((4, 48, 64), 255)
    padded_logits[..., 3:43, 7:57], padded[:, 3:43, 7:57] = logits, labels
    plain, other = BoundaryScores(name), BoundaryScores(name)
    plain.update(logits, labels)
    other.update(padded_logits, padded)
    assert torch.equal(plain.counts, other.counts)
    assert plain.compute() == pytest.approx(other.compute())


def test_images_without_labels_are_left_out() -> None:
    logits, labels = batch()
    plain, other = BoundaryScores(), BoundaryScores()
    plain.update(logits[:2], labels[:2])
    labels[2:] = 255
    other.update(logits, labels)
    assert int(other.images) == 2
    assert plain.compute() == other.compute()


def test_nothing_seen_is_no_number() -> None:
    metric = BoundaryScores()
    metric.update(torch.zeros(1, 1, 8, 8), torch.full((1, 8, 8), 255))
    assert all(math.isnan(value) for value in metric.compute().values())


def test_sums_of_parts_are_the_whole() -> None:
    logits, labels = batch()
    whole, halves = BoundaryScores(), [BoundaryScores(), BoundaryScores()]
    whole.update(logits, labels)
    for half, part in zip(halves, (slice(3), slice(3, 4)), strict=True):
        half.update(logits[part], labels[part])
    for state in ("counts", "best", "images", "pixels"):
        parts = [getattr(half, state) for half in halves]
        assert parts[0].dtype == torch.int64
        assert torch.equal(sum(parts[1:], parts[0]), getattr(whole, state)), state
        assert whole._reductions[state] is halves[0]._reductions["total"] is not None


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = batch()
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        metric = BoundaryScores()
        metric.update(logits, labels)
        found.append(metric.compute())
    assert found[0] == found[1]


def test_perfect_boundaries_score_one() -> None:
    _, labels = batch()
    metric = BoundaryScores("edge.mti.pascal")
    metric.update(20.0 * (labels[:, None] * 2 - 1), labels)
    assert metric.compute()["edge.mti.pascal.odsF"] == 1


def test_silent_predictions_score_zero() -> None:
    _, labels = batch()
    metric = BoundaryScores()
    metric.update(torch.full((4, 1, 40, 50), -99.0), labels)
    assert list(metric.compute().values())[:3] == [0, 0, 0]


def test_losses_are_those_of_their_own_metric() -> None:
    logits, labels = batch()
    labels[0, :9] = 255
    both, alone = BoundaryScores(pos_weight=0.8), BoundaryLoss(pos_weight=0.8)
    both.update(logits, labels)
    alone.update(logits, labels)
    assert alone.compute().items() <= both.compute().items()
    expected = tasks.edge(0.8).loss(logits, labels)
    assert alone.compute()["edge.loss"] == pytest.approx(float(expected), rel=1e-5)


@each_protocol
def test_the_task_shows_ods(name: str) -> None:
    task = tasks.edge(0.8, name)
    assert (task.primary, task.higher_is_better, task.column) == (f"{name}.odsF", True, "odsF")
    metric = task.metric()
    metric.update(*batch(1))
    assert task.primary in metric.compute()


def test_an_unknown_protocol_is_refused_early() -> None:
    with pytest.raises(MtlbenchError, match="boundary protocol"):
        tasks.edge(0.8, "edge.seism")

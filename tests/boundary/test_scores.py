import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from mtlbench.boundary.counts import count_image
from mtlbench.boundary.nms import suppress
from mtlbench.boundary.protocols import HED, PROTOCOLS, even_thresholds, find_protocol
from mtlbench.boundary.scores import average_precision, best_counts, f_measure, precision_recall, scores
from mtlbench.boundary.truth import outline, true_boundaries
from mtlbench.errors import MtlbenchError


def test_undefined_precision_and_recall_are_seism_s() -> None:
    counts = np.array([[0, 0, 0, 5], [0, 5, 0, 0], [0, 0, 0, 0], [2, 4, 2, 8]])
    precision, recall = precision_recall(counts)
    assert precision.tolist() == [0, 1, 0, 0.25]
    assert recall.tolist() == [1, 0, 1, 0.5]
    assert f_measure(counts).tolist() == [0, 0, 0, pytest.approx(1 / 3)]


def test_scores_of_two_images() -> None:
    first = np.array([[8, 10, 8, 20], [6, 10, 6, 8]])
    second = np.array([[9, 10, 9, 10], [1, 10, 1, 1]])
    found = scores(first + second, best_counts(first) + best_counts(second), 2)
    assert (found.ods, found.ods_index) == (pytest.approx(2 * 17 / (20 + 30)), 0)
    assert found.ois == pytest.approx(2 * 15 / (20 + 18))
    assert found.recall.tolist() == [0.85, 0.35]


def test_equally_good_thresholds_count_as_the_lowest() -> None:
    counts = np.array([[0, 4, 0, 7], [0, 4, 0, 3]])
    assert best_counts(counts).tolist() == [0, 4, 0, 7]


def test_average_precision_by_hand() -> None:
    precision, recall = np.array([0.5, 0.7, 0.9, 1.0]), np.array([0.8, 0.5, 0.5, 0.2])
    at = np.arange(20, 81) / 100
    expected = np.where(at <= 0.5, 1 + (0.7 - 1) * (at - 0.2) / 0.3, 0.7 + (0.5 - 0.7) * (at - 0.5) / 0.3)
    assert average_precision(precision, recall) == pytest.approx(expected.sum() / 100, abs=0.011)
    assert average_precision(np.ones(3), np.full(3, 0.4)) == 0


def test_no_images_no_scores() -> None:
    found = scores(np.zeros((3, 4), np.int64), np.zeros(4, np.int64), 0)
    assert all(math.isnan(value) for value in (found.ods, found.ois, found.ap))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 3), (9, 12)])
def test_small_and_empty_images(name: str, shape: tuple[int, int]) -> None:
    protocol = dataclasses.replace(PROTOCOLS[name], max_dist=0.3)
    nothing, everything = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    none, some = np.zeros(shape, bool), np.zeros(shape, bool)
    some[0, 0] = True
    silent = count_image(nothing, some, protocol)
    assert silent.tolist() == [[0, 1, 0, 0]] * len(protocol.thresholds)
    alone = count_image(everything, none, protocol)
    assert not alone[:, :3].any()
    both = count_image(everything, some, protocol)
    assert (both[:, 0] <= 1).all()
    assert (both[:, 3] == alone[:, 3]).all()


def test_suppression_keeps_a_ridge() -> None:
    columns = np.abs(np.arange(41) - 20)
    found = suppress(np.tile(np.maximum(0, 1 - columns / 4), (30, 1)))
    assert found.dtype == np.float32
    assert set(np.flatnonzero(found[15])) == {20}
    assert found[15, 20] == 1
    assert found[:6, 20] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_outline_of_two_segments() -> None:
    labels = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert outline(labels).astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert true_boundaries(labels == 3, "edges").sum() <= outline(labels == 3).sum()


def test_relabelling_connected_regions_changes_no_outline() -> None:
    from scipy.ndimage import label

    labels = np.random.default_rng(0).integers(0, 3, (60, 70))
    regions, first = np.zeros_like(labels), 0
    for value in range(3):
        numbers, count = label(labels == value)
        regions += np.where(numbers > 0, numbers + first, 0)
        first += count
    np.testing.assert_array_equal(outline(regions), outline(labels))


def test_thresholds() -> None:
    assert len(HED) == 101
    assert HED[:3] == (0.001, 0.01, 0.02)
    assert even_thresholds(99)[::49] == pytest.approx((0.01, 0.5, 0.99))
    assert even_thresholds(1) == (0.5,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_dist": 0.0}, "max_dist"),
        ({"thresholds": (0.2, 0.1)}, "thresholds"),
        ({"thresholds": ()}, "thresholds"),
        ({"truth": "lines"}, "truth"),
    ],
)
def test_protocols_that_make_no_sense(change: dict[str, object], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        dataclasses.replace(find_protocol("edge.bsds"), **change)
    with pytest.raises(MtlbenchError, match="thresholds"):
        even_thresholds(0)


def test_protocols_import_nothing_heavy() -> None:
    code = (
        "import sys, mtlbench.boundary.protocols; print([m for m in ('numba', 'torch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

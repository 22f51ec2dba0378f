"""Matchings and thinning against independent ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

from mtlbench.boundary.counts import count_matches
from mtlbench.boundary.matching import Canvas
from mtlbench.boundary.thinning import REMOVABLE, thin


def matching_by_scipy(predicted: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Size of a maximum matching of two binary maps, by Hopcroft and Karp on pairs from a KD-tree."""
    ours, theirs = np.argwhere(predicted), np.argwhere(truth)
    if not len(ours) or not len(theirs):
        return 0
    near = KDTree(theirs).query_ball_point(ours, radius)
    rows = np.repeat(np.arange(len(ours)), [len(found) for found in near])
    columns = np.concatenate([np.array(found, int) for found in near])
    graph = csr_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(ours), len(theirs)))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def thin_slowly(boundary: np.ndarray) -> np.ndarray:
    """The rule as the paper has it, all pixels at a time."""
    present = np.pad(boundary != 0, 1)
    removed = True
    while removed:
        removed = False
        for s in range(2):
            east, west = np.roll(present, -1, 1), np.roll(present, 1, 1)
            up, down = np.roll(present, 1, 0), np.roll(present, -1, 0)
            around = [
                east, np.roll(up, -1, 1), up, np.roll(up, 1, 1),
                west, np.roll(down, 1, 1), down, np.roll(down, -1, 1),
            ]  # fmt: skip
            codes = sum(neighbour.astype(int) << k for k, neighbour in enumerate(around))
            gone = present & (REMOVABLE[s][codes] != 0)
            present = present & ~gone
            removed |= bool(gone.any())
    return present[1:-1, 1:-1]


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A strength in [0, 1] in steps of 1 / 20, and a truth; smooth or not, full or nearly empty."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 140))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    noise = gaussian_filter(generator.random((height, width)), draw(st.sampled_from([0, 0.7, 2.0])))
    ranks = noise.ravel().argsort().argsort().reshape(noise.shape) / noise.size
    strength = np.round((ranks * draw(st.sampled_from([0.3, 1.0]))) * 20) / 20
    truth = generator.random((height, width)) < draw(st.sampled_from([0, 0.02, 0.3]))
    return strength, truth


@settings(max_examples=60, deadline=None)
@given(maps(), st.sampled_from([0.005, 0.03, 0.11]), st.booleans())
def test_counts_are_sizes_of_maximum_matchings(
    case: tuple[np.ndarray, np.ndarray], max_dist: float, strict: bool
) -> None:
    """At every threshold, though each starts from the one before."""
    strength, truth = case
    thresholds = [0.02, 0.1, 0.25, 0.3, 0.5, 0.72, 0.9, 0.99]
    counts = count_matches(strength, truth, thresholds=thresholds, max_dist=max_dist, strict=strict)
    radius = max_dist * np.hypot(*strength.shape)
    for threshold, (matched_true, true, matched, predicted) in zip(thresholds, counts, strict=True):
        expected = thin_slowly(strength > threshold if strict else strength >= threshold)
        assert predicted == expected.sum()
        assert true == truth.sum()
        assert matched == matched_true == matching_by_scipy(expected, truth, radius)


@settings(max_examples=100, deadline=None)
@given(maps(), st.floats(0, 1))
def test_thinning_follows_the_paper(case: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    strength, _ = case
    np.testing.assert_array_equal(thin(strength >= threshold), thin_slowly(strength >= threshold))


def test_thinning_of_known_maps() -> None:
    """As `skimage.morphology.thin` gives them."""
    square = np.zeros((5, 5), bool)
    square[1:4, 1:4] = True
    assert np.argwhere(thin(square)).tolist() == [[2, 2]]
    assert thin(np.ones((1, 6))).tolist() == [[True] * 6]
    ring = np.ones((5, 6), bool)
    ring[2, 2:4] = False
    expected = np.zeros((5, 6), bool)
    expected[[1, 1, 2, 2, 3, 3, 4, 4], [2, 3, 1, 4, 1, 4, 2, 3]] = True
    np.testing.assert_array_equal(thin(ring), expected)
    assert not thin(np.zeros((3, 0))).any()


def test_pixels_match_up_to_the_radius_and_no_further() -> None:
    strength, truth = np.zeros((60, 80)), np.zeros((60, 80), bool)
    strength[20, 10], truth[23, 14] = 1, True  # 5 apart, and the diagonal is 100 long
    for max_dist, expected in ((0.0499, 0), (0.0501, 1)):
        counts = count_matches(strength, truth, thresholds=[0.5], max_dist=max_dist, strict=True)
        assert counts.tolist() == [[expected, 1, expected, 1]]


@pytest.mark.parametrize("radius", [0.0, 0.5, 1.0, 1.4142136, 7.73, 40.2])
def test_a_canvas_has_all_of_the_disc(radius: float) -> None:
    canvas = Canvas.around(30, 70, radius)
    assert canvas.shape[1] % 64 == 0
    assert canvas.margin > radius
    stride, reach = canvas.shape[1], int(radius) + 1
    disc = {p for first, last in canvas.disc for p in range(first, last + 1)}
    grid = range(-reach, reach + 1)
    assert disc == {y * stride + x for y in grid for x in grid if y * y + x * x <= radius * radius}
    image = np.arange(1, 30 * 70 + 1).reshape(30, 70)
    placed = canvas.place(image).reshape(canvas.shape)
    assert (placed[canvas.margin :, canvas.margin :][:30, :70] == image).all()
    assert placed.sum() == image.sum()


def test_counts_are_the_same_again() -> None:
    generator = np.random.default_rng(0)
    strength, truth = generator.random((50, 40)), generator.random((50, 40)) < 0.1

    def count() -> np.ndarray:
        return count_matches(strength, truth, thresholds=[0.2, 0.5, 0.9], max_dist=0.05, strict=True)

    np.testing.assert_array_equal(count(), count())

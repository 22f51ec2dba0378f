"""Errors from drawn pictures: the coding is known by its colours, and errors are those of what was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mtlbench.reports.figures import errors as figure
from PIL import Image
from results_factory import make_results

from mtlbench import drawing
from mtlbench.picture_errors import coding_of, errors
from mtlbench.results import Picture, Results

RNG = np.random.default_rng(0)
SIZE = (12, 16)


def unit_vectors() -> np.ndarray:
    vectors = RNG.normal(size=(3, *SIZE))
    return vectors / np.linalg.norm(vectors, axis=0)


def depths() -> np.ndarray:
    return RNG.uniform(1, 8, (1, *SIZE))


def test_wrong_classes_are_found_exactly() -> None:
    label, prediction = (RNG.integers(0, 40, SIZE) for _ in range(2))
    label[0, :4] = 255
    pictures = [drawing.draw_classes(values, label) for values in (label, prediction)]
    coding = coding_of([pictures[0]])
    assert coding is not None
    found = errors(coding, *pictures)
    assert np.isnan(found[0, :4]).all()
    assert (found[1:] == 100 * (label != prediction)[1:]).all()
    assert not coding.graded


def test_depth_errors_are_relative_and_right_to_the_drawings_steps() -> None:
    label = depths()
    prediction = (label * RNG.uniform(0.7, 1.0, label.shape)).clip(0.5)
    label[0, 0, 0] = 0
    pictures = [drawing.draw_depth(values, label) for values in (label, prediction)]
    coding = coding_of([pictures[0]])
    assert coding is not None
    assert coding.error.startswith("relative")
    found = errors(coding, *pictures)
    assert np.isnan(found[0, 0])
    true = 100 * np.abs(prediction - label)[0, 1:] / label[0, 1:]
    assert found[1:] == pytest.approx(true, abs=100 * 8 / 256)
    assert np.median(np.abs(found[1:] - true)) < 1


def test_angles_between_normals_are_right_to_half_a_degree() -> None:
    label, prediction = unit_vectors(), unit_vectors()
    label[:, 0, 0] = 0
    pictures = [drawing.draw_normals(values, label) for values in (label, prediction)]
    coding = coding_of([pictures[0]])
    assert coding is not None
    found = errors(coding, *pictures)
    true = np.degrees(np.arccos((label * prediction).sum(0)))
    assert np.isnan(found[0, 0])
    assert found[1:] == pytest.approx(true[1:], abs=0.5)


def test_probabilities_differ_by_what_was_drawn() -> None:
    label, prediction = RNG.integers(0, 2, SIZE), RNG.uniform(0, 1, SIZE)
    pictures = [drawing.draw_binary(values, label) for values in (label, prediction)]
    coding = coding_of([pictures[0]])
    assert coding is not None
    assert errors(coding, *pictures) == pytest.approx(np.abs(label - prediction), abs=1 / 500)


def test_unknown_drawings_and_empty_labels_have_no_coding() -> None:
    assert coding_of([RNG.integers(0, 255, (*SIZE, 3)).astype(np.uint8)]) is None
    assert coding_of([np.full((*SIZE, 3), drawing.IGNORED_COLOUR, np.uint8)]) is None


def pictured(folder: Path, candidates: int) -> Results:
    """Two images; row 0 predicts the first one's depth without error."""
    results = make_results(candidates=candidates, seeds=1)
    pictures = []
    for sample in ("a", "b"):
        label = depths()
        drawn: list[tuple[int, str | None, str, np.ndarray]] = [
            (-1, None, "image", RNG.integers(0, 255, (*SIZE, 3)).astype(np.uint8)),
            (-1, "depth", "label", drawing.draw_depth(label, label)),
        ]
        for row in range(candidates):
            values = label if (row, sample) == (0, "a") else depths()
            drawn.append((row, "depth", "prediction", drawing.draw_depth(values, label)))
        for row, task, kind, picture in drawn:
            path = folder / f"{sample}-{row}-{kind}.png"
            Image.fromarray(picture).save(path)
            pictures.append(Picture(row, sample, task, kind, path))
    return replace(results, pictures=tuple(pictures))


def test_each_map_says_its_mean_error(tmp_path: Path) -> None:
    results = pictured(tmp_path, 2)
    (chart,) = figure.charts(results)
    assert chart.name == "errors_depth"
    assert "1/256" in chart.caption
    found, note = figure.prepare(results, results.tasks[1])
    assert found is not None
    assert note == ""
    texts = [text.get_text() for text in figure.draw(found).axes[0].texts]
    assert texts[:3] == ["truth", "DeGMix · equal", "DeGMix · uncertainty"]
    assert texts[3] == "0.0 %"
    assert all(float(text.removesuffix(" %")) > 1 for text in texts[4:7])


def test_only_leading_rows_are_shown_of_many(tmp_path: Path) -> None:
    results = pictured(tmp_path, 9)
    found, note = figure.prepare(results, results.tasks[1])
    assert found is not None
    gains = results.delta_m.set_index("row")["delta_m"].loc[:8]
    assert set(found.names) == set(gains.nlargest(6).index)
    assert note == "The 6 of 9 rows with the highest Δm are shown."

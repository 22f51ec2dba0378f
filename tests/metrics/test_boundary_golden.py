"""Counts and scores of boundaries against py-bsds500 and exact matchings, on arrays kept with them.

A golden file lists configurations; everything about one comes from its name, its text and its numbers.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import ROOT

from mtlbench.boundary.counts import count_matches
from mtlbench.boundary.nms import suppress
from mtlbench.boundary.protocols import HED, even_thresholds
from mtlbench.boundary.scores import best_counts, scores
from mtlbench.boundary.thinning import thin
from mtlbench.boundary.truth import true_boundaries
from mtlbench.metrics.boundary import BoundaryLoss

FILES = sorted((ROOT / "metrics").glob("boundary*.json"))
LOSSES = [
    file
    for file in sorted((ROOT / "metrics").glob("*.json"))
    if "edge_loss_meter" in json.loads(file.read_text()).get("values", {})
]
THINNING_DIFFERS = 7  # pixels, between py-bsds500 and the rule of bwmorph


@dataclass(frozen=True)
class Golden:
    """One golden file."""

    path: Path

    @cached_property
    def spec(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as arrays:
            return dict(arrays)

    @property
    def images(self) -> range:
        return range(len(self.spec["images"]))

    def strength(self, image: int) -> np.ndarray:
        return self.arrays[f"pred_u8_{image}"].astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class Config:
    """One configuration of a golden file."""

    golden: Golden
    name: str

    @property
    def spec(self) -> dict[str, Any]:
        return self.golden.spec["configs"][self.name]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Ours, which must be the file's."""
        count = self.spec["thresholds"]
        ours = HED if self.spec["strict_greater"] else even_thresholds(count)
        stored = [
            values
            for key, values in self.golden.arrays.items()
            if key.startswith("thresholds") and len(values) == count
        ]
        assert stored, f"no thresholds for {self.name}"
        assert np.array_equal(ours, stored[0])
        return ours

    def counts(self, image: int) -> np.ndarray:
        """Ours, from the stored 8-bit prediction and the stored labels or edges."""
        arrays, edges = self.golden.arrays, "nyud" in self.name or "edge_png" in self.spec["text"]
        truth = true_boundaries(
            arrays[f"{'edge_png' if edges else 'labelmap'}_{image}"], "edges" if edges else "labels"
        )
        suppressed = "nms" in self.name and "nonms" not in self.name
        return count_matches(
            suppress(self.golden.strength(image)) if suppressed else arrays[f"pred_u8_{image}"] / 255,
            truth,
            thresholds=self.thresholds,
            max_dist=self.spec["max_dist"],
            strict=self.spec["strict_greater"],
        )

    def stored(self, kind: str, image: int) -> np.ndarray:
        return self.golden.arrays[f"{self.name}__{kind}_{image}"].T.astype(np.int64)


GOLDEN = [Golden(file) for file in FILES]
CONFIGS = [Config(golden, name) for golden in GOLDEN for name in golden.spec["configs"]]
each_file = pytest.mark.parametrize("golden", GOLDEN, ids=[golden.path.stem for golden in GOLDEN])
each_config = pytest.mark.parametrize(
    "config", CONFIGS, ids=[f"{config.golden.path.stem}-{config.name}" for config in CONFIGS]
)


@each_config
def test_golden_counts_are_exact(config: Config) -> None:
    for image in config.golden.images:
        np.testing.assert_array_equal(config.counts(image), config.stored("exact", image))


@each_config
def test_golden_reference_falls_short_by_little(config: Config) -> None:
    """Its random edges cost it matches; it can have more only where it thinned otherwise."""
    allowed = config.spec["max_abs_count_difference_reference_minus_exact"]
    for image in config.golden.images:
        ours, reference = config.counts(image), config.stored("ref", image)
        lowest, highest = config.stored("ref_cntR_min", image), config.stored("ref_cntR_max", image)
        otherwise = np.abs(ours[:, 3] - reference[:, 3])
        assert otherwise.max() <= min(THINNING_DIFFERS, config.spec["max_abs_sumP_difference"])
        np.testing.assert_array_equal(ours[:, 1], reference[:, 1])
        assert (ours[:, 0] >= highest - otherwise).all()
        assert (ours[:, 0] - lowest <= allowed + otherwise).all()


@each_config
def test_golden_scores(config: Config) -> None:
    counts = [config.counts(image) for image in config.golden.images]
    best = sum(map(best_counts, counts), np.zeros(4, np.int64))
    summed, expected = sum(counts[1:], counts[0]), config.spec["exact_maximum_matching"]
    found = scores(summed, best, len(counts))
    assert found.ods == pytest.approx(expected["odsF"], rel=1e-12)
    assert config.thresholds[found.ods_index] == pytest.approx(expected["ods_threshold"], rel=1e-12)
    assert found.ois == pytest.approx(expected["oisF"], rel=1e-12)
    if expected.get("AP_seism") is not None:
        assert found.ap == pytest.approx(expected["AP_seism"], rel=1e-12)
    if expected.get("AP_py_bsds500") is not None and found.recall.max() < 1 and summed[:, 3].all():
        assert found.ap == pytest.approx(expected["AP_py_bsds500"], rel=1e-12)


@each_file
def test_golden_suppression(golden: Golden) -> None:
    for image in golden.images:
        expected = golden.arrays[f"pred_nms_{image}"]
        found = suppress(golden.strength(image))
        np.testing.assert_array_equal(found > 0, expected > 0)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@each_file
def test_golden_truths(golden: Golden) -> None:
    for image in golden.images:
        arrays = golden.arrays
        found = true_boundaries(arrays[f"labelmap_{image}"], "labels")
        np.testing.assert_array_equal(found, arrays[f"gt_from_labelmap_{image}"])
        found = true_boundaries(arrays[f"edge_png_{image}"], "edges")
        np.testing.assert_array_equal(found, arrays[f"gt_from_edge_png_{image}"])


@each_file
def test_golden_thinning(golden: Golden) -> None:
    checked = 0
    for key, expected in golden.arrays.items():
        if key.startswith("thin_bwmorph_"):
            threshold, image = key.removeprefix("thin_bwmorph_").split("_")
            found = thin(golden.arrays[f"pred_u8_{image}"] / 255 >= float(threshold))
            np.testing.assert_array_equal(found, expected, err_msg=key)
            checked += 1
    assert checked


@pytest.mark.parametrize("path", LOSSES, ids=[file.stem for file in LOSSES])
@pytest.mark.parametrize(
    ("label", "key"),
    [("edge_label", "mti_net_posw0.95"), ("edge_label_ignore", "invpt_posw0.95_label_ignore")],
)
def test_golden_loss_of_the_meters(path: Path, label: str, key: str) -> None:
    expected = json.loads(path.read_text())["values"]["edge_loss_meter"][key]
    metric = BoundaryLoss(pos_weight=0.5)
    with np.load(path.with_suffix(".npz")) as arrays:
        metric.update(torch.from_numpy(arrays["edge_logits"]), torch.from_numpy(arrays[label][:, 0]).long())
    assert metric.compute()["edge.loss.meter"] == pytest.approx(expected, rel=1e-6)

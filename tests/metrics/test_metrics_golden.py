"""Values of the published meters, on arrays kept with them.

A folder `metrics` of any golden files will do: which comparisons a file gives follows from its arrays and
values. `COMPARED` says for each published value which variant it is, on which arrays; `NOT_COMPARED` says why
a value is left out; nothing else may be in a file.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import ROOT
from torch import Tensor
from torchmetrics import Metric

from mtlbench import metrics

Scores = Mapping[str, float]
FILES = sorted(file for file in (ROOT / "metrics").glob("*.json") if not file.stem.startswith("boundary"))


class Golden:
    """One file: arrays, and the values that published code gave for them."""

    def __init__(self, file: Path) -> None:
        self.content: dict[str, Any] = json.loads(file.read_text())
        self.values: dict[str, Any] = self.content["values"]
        self.batch: int = self.values.get("batch_size", 2)
        self._arrays = dict(np.load(file.with_suffix(".npz")))

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self._arrays[name])

    def labels(self, name: str) -> Tensor:
        """Class maps without their channel axis."""
        labels = self.tensor(name).long()
        return labels[:, 0] if labels.ndim == 4 else labels

    def depth_label(self) -> Tensor:
        return self.tensor("depth_label_raw0" if "depth_label_raw0" in self._arrays else "depth_label")

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """(path, value) of every published number or list of numbers."""

        def walk(prefix: str, found: Any) -> Iterator[tuple[str, Any]]:
            if isinstance(found, dict):
                for key, inner in found.items():
                    yield from walk(f"{prefix}/{key}" if prefix else key, inner)
            else:
                yield prefix, found

        return walk("", self.values)


def fed(metric: Metric, logits: Tensor, labels: Tensor) -> Metric:
    """In updates of three images, which no batch size divides."""
    for i in range(0, len(logits), 3):
        metric.update(logits[i : i + 3], labels[i : i + 3])
    return metric


def semseg(golden: Golden) -> Metric:
    logits = golden.tensor("semseg_logits")
    return fed(metrics.SegmentationScores(logits.shape[1]), logits, golden.labels("semseg_label"))


def parts(golden: Golden) -> Metric:
    logits = golden.tensor("parts_logits")
    return fed(metrics.PartsScores(logits.shape[1]), logits, golden.labels("parts_label"))


def depth(golden: Golden) -> Metric:
    return fed(metrics.DepthScores(batch=golden.batch), golden.tensor("depth_pred"), golden.depth_label())


def normals(golden: Golden) -> Metric:
    metric = metrics.NormalsScores(batch=golden.batch)
    return fed(metric, golden.tensor("normals_pred"), golden.tensor("normals_label"))


def saliency(logits: str, labels: str) -> Callable[[Golden], Metric]:
    def make(golden: Golden) -> Metric:
        return fed(metrics.SaliencyScores(), golden.tensor(logits), golden.labels(labels))

    return make


@dataclass(frozen=True)
class Compared:
    """A published value, the metric that gives it, and how far apart they may be."""

    metric: Callable[[Golden], Metric]
    value: str | Callable[[Metric, Golden], Any]
    abs: float = 2e-6
    rel: float = 2e-6

    def of(self, golden: Golden) -> Any:
        metric = self.metric(golden)
        return metric.compute()[self.value] if isinstance(self.value, str) else self.value(metric, golden)


def several(*names: str) -> Callable[[Metric, Golden], list[float]]:
    return lambda metric, golden: [metric.compute()[name] for name in names]


def per_class(metric: Any, golden: Golden) -> list[float]:
    counts = metric.confusion if hasattr(metric, "confusion") else metric.confusions[0]
    return (intersection(counts) / union(counts).clamp(min=1)).tolist()


def intersection(counts: Tensor) -> Tensor:
    return counts.diagonal().double()


def union(counts: Tensor) -> Tensor:
    return counts.sum(0) + counts.sum(1) - intersection(counts)


def image_rmse(metric: Metric, golden: Golden) -> list[float]:
    found = []
    for predicted, truth in zip(golden.tensor("depth_pred"), golden.depth_label(), strict=True):
        one = fed(metrics.DepthScores(), predicted[None], truth[None])
        found.append(one.compute()["depth.rmse.pixels"])
    return found


def image_curve(which: str) -> Callable[[Any, Golden], list[float]]:
    """F or IoU at every threshold of the image-level variants."""

    def curve(metric: Any, golden: Golden) -> list[float]:
        precision, recall, iou = (metric.image_sums / metric.images)[:, 0]
        return (iou if which == "iou" else 2 * precision * recall / (precision + recall + 1e-12)).tolist()

    return curve


def dataset_counts(metric: Any, golden: Golden) -> list[list[float]]:
    hits, predicted, actual = metric.counts(metric.levels)
    return [hits[:19].tolist(), predicted[:19].tolist(), [int(actual)] * 19]


def without_class_2(golden: Golden) -> Metric:
    """Its labels and logits gone."""
    logits, labels = golden.tensor("semseg_logits").clone(), golden.labels("semseg_label").clone()
    logits[:, 2] = -1e4
    labels[labels == 2] = -1
    return fed(metrics.SegmentationScores(logits.shape[1]), logits, labels)


ANGLE = 1e-4
"""Degrees by which float32 arc cosines may be off."""
FILE = 1e-3
"""Degrees: a component that rounding puts on the other side of an 8-bit step."""
MEDIAN = 1e-3
"""Degrees: half a bin of the histogram, and the arc cosine."""
PIXEL = 0.05
"""Percent: a pixel on the edge of an accuracy."""


def mtan(normal: str, error: str) -> dict[str, Compared]:
    """One code base's rows for the .npy benchmarks."""
    return {
        "mIoU": Compared(semseg, "miou.dataset.absentnan"),
        "pix_acc": Compared(semseg, "pixacc.dataset"),
        "abs_err_mean_over_batches": Compared(depth, f"depth.abs_err{error}"),
        "rel_err_mean_over_batches": Compared(depth, f"depth.rel_err{error}"),
        "mean": Compared(normals, f"normals.mean.{normal}", ANGLE),
        "median": Compared(normals, f"normals.median.{normal}", MEDIAN),
        **{
            bound: Compared(normals, f"normals.{bound}.{normal}", PIXEL / 100)
            for bound in ("11.25", "22.5", "30")
        },
    }


def accuracies(suffix: str, angle: float = ANGLE) -> dict[str, Compared]:
    return {
        "mean": Compared(normals, f"normals.mean.{suffix}", angle),
        "median": Compared(normals, f"normals.median.{suffix}", MEDIAN),
        "rmse": Compared(normals, f"normals.rmse.{suffix}", angle),
        **{b: Compared(normals, f"normals.{b}.{suffix}", PIXEL) for b in ("11.25", "22.5", "30")},
    }


def depths(prefix: str = "depth", rmse: str = "rmse.pixels") -> dict[str, Compared]:
    return {
        "rmse": Compared(depth, f"{prefix}.{rmse}"),
        **{key: Compared(depth, f"{prefix}.{key}", rel=1e-5) for key in ("log_rmse", "abs_rel", "sq_rel")},
    }


def image_level() -> dict[str, Compared]:
    metric = saliency("sal_logit1", "sal_label")
    return {
        "maxF": Compared(metric, "sal.maxF.image.b1"),
        "mIoU": Compared(metric, "sal.miou.image"),
        "F": Compared(metric, image_curve("f")),
        "mIoUs": Compared(metric, image_curve("iou")),
    }


def under(prefix: str, entries: Mapping[str, Compared]) -> dict[str, Compared]:
    return {f"{prefix}/{key}": entry for key, entry in entries.items()}


TWO, ONE = saliency("sal_logits2", "sal_label_ignore"), saliency("sal_logits2", "sal_label")
MAX_F, DOUBLE = "sal.maxF.dataset.b0.3", "sal.maxF.dataset.b0.3.doublesigmoid"
MIOU = "miou.dataset.absent0"
COMPARED: dict[str, Compared] = {
    "semseg/mti_net": Compared(semseg, MIOU),
    "semseg/mti_net_per_class": Compared(semseg, per_class),
    "semseg/invpt": Compared(semseg, MIOU),
    "semseg/atrc_degmix_demt": Compared(semseg, MIOU),
    "semseg/pixel_accuracy_own_formula": Compared(semseg, "pixacc.dataset"),
    "semseg/atrc_intersection": Compared(semseg, lambda m, g: intersection(m.confusion).tolist(), 0, 0),
    "semseg/atrc_union": Compared(semseg, lambda m, g: union(m.confusion).tolist(), 0, 0),
    "human_parts/mti_net_online_no_transform": Compared(parts, MIOU),
    "human_parts/mti_net_per_class": Compared(parts, per_class),
    "human_parts/mti_net_from_files_skips_empty_images": Compared(parts, "parts.skip_empty_in_file"),
    "human_parts/invpt_no_transform": Compared(parts, MIOU),
    "human_parts/atrc_degmix_demt_no_transform": Compared(parts, MIOU),
    "human_parts/atrc_degmix_demt_after_AddIgnoreRegions": Compared(parts, "parts.atrc"),
    **under("sal/mti_net_online_sal_logit1_sal_label", image_level()),
    **under("sal/mtlora_ditask_nobeta_sal_logit1_sal_label", image_level()),
    "sal/invpt_sal_logits2_sal_label_ignore": Compared(TWO, DOUBLE),
    "sal/invpt_sal_logits2_sal_label": Compared(ONE, DOUBLE),
    "sal/atrc_degmix_demt_sal_logits2_sal_label_ignore": Compared(TWO, MAX_F),
    "sal/atrc_degmix_demt_sal_logits2_sal_label": Compared(ONE, MAX_F),
    "sal/atrc_sal_logit1_sal_label_ignore": Compared(saliency("sal_logit1", "sal_label_ignore"), MAX_F),
    "sal/mtlora_ditask_beta_sal_logit1_sal_label": Compared(saliency("sal_logit1", "sal_label"), DOUBLE),
    "sal/atrc_thresholds": Compared(TWO, lambda m, g: len(dataset_counts(m, g)[0])),
    "sal/atrc_tp_pp_ap_sal_logits2_sal_label_ignore": Compared(TWO, dataset_counts, 0, 0),
    **under("normals/mti_net_online", accuracies("pixels.acos")),
    **under("normals/mtlora_v1", accuracies("pixels.acos")),
    **under("normals/mti_net_from_saved_uint8_png", accuracies("pixels.file", FILE)),
    "normals/invpt/mean": Compared(normals, "normals.mean.pixels.atan2", ANGLE),
    "normals/mtlora_v2/mean": Compared(normals, "normals.mean.pixels.atan2", ANGLE),
    "normals/mtlora_v2/rmse": Compared(normals, "normals.rmse.pixels.acos", ANGLE),
    "normals/atrc_degmix_demt": Compared(normals, "normals.mean.pixels.atan2", ANGLE),
    **under("depth/mti_net_online", depths()),
    **under("depth/mti_net_from_saved_mat", depths()),
    **under("depth/invpt", depths()),
    **under("depth/taskprompter_cityscapes_min0_max80", depths("depth.range", "rmse")),
    "depth/atrc_degmix_demt_zero_is_invalid": Compared(depth, "depth.rmse.pixels"),
    "depth/astmt_mean_of_per_image_rmse": Compared(depth, "depth.rmse.images"),
    "depth/per_image_rmse": Compared(depth, image_rmse),
    "depth/delta_1.25_own_formula": Compared(depth, several(*(f"depth.delta{k}" for k in (1, 2, 3)))),
    **under("mtan", mtan("batches", "")),
    **under("nash_mtl", mtan("batches", "")),
    "libmtl/mIoU_pixacc": Compared(semseg, several("miou.dataset.absentnan", "pixacc.dataset")),
    "libmtl/abs_rel_pixel_weighted": Compared(depth, several("depth.abs_err.pixels", "depth.rel_err.pixels")),
    "libmtl/normals_mean_median_11_22_30_all_pixels": Compared(
        normals,
        several(*(f"normals.{key}.all" for key in ("mean", "median", "11.25", "22.5", "30"))),
        MEDIAN,
    ),
    "mIoU_when_class_2_absent_everywhere_mtan": Compared(without_class_2, "miou.dataset.absentnan"),
}
NOT_COMPARED = {
    "edge_loss_meter/": "compared with the boundary metrics",
    "sal/mti_net_from_saved_uint8_png/": "test_golden_saliency_of_files",
    "sal/mti_net_from_png_thr0.5_only/": "test_golden_saliency_of_files",
    "depth/atrc_degmix_demt_after_AddIgnoreRegions_bug": "test_golden_bugs_that_no_variant_repeats",
    "batch_size": "an input",
    "images": "an input",
    "note": "words",
    "normals_note": "words",
}


def is_compared(path: str) -> bool:
    reasons = [key for key in NOT_COMPARED if path.startswith(key) or path.endswith(f"/{key}")]
    return not reasons


CASES = [
    pytest.param(file, path, id=f"{file.stem}-{path}")
    for file in FILES
    for path, _ in Golden(file).leaves()
    if is_compared(path)
]
golden = cache(Golden)


def test_there_are_golden_files() -> None:
    assert FILES


@pytest.mark.parametrize(("file", "path"), CASES)
def test_golden(file: Path, path: str) -> None:
    assert path in COMPARED, "nothing is compared with this published value"
    compared = COMPARED[path]
    expected = np.asarray(dict(golden(file).leaves())[path], dtype=float)  # "nan" becomes NaN
    found = np.asarray(compared.of(golden(file)), dtype=float)
    np.testing.assert_allclose(found, expected, rtol=compared.rel, atol=compared.abs, err_msg=path)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_golden_bugs_that_no_variant_repeats(file: Path) -> None:
    """ATRC's rmse after its own ignore transform, from our sums: missing depth counted as 255 m."""
    found = golden(file)
    expected = found.values.get("depth", {}).get("atrc_degmix_demt_after_AddIgnoreRegions_bug")
    if expected is None:
        assert "atrc" not in str(found.values.get("depth", ""))
        return
    metric: Any = depth(found)
    missing = (found.depth_label() == 0).double()
    extra = ((found.tensor("depth_pred").double().clamp(min=0) - 255).square() * missing).sum()
    value = math.sqrt((metric.sums[0] + extra) / (metric.pixels + metric.masked))
    assert value == pytest.approx(expected, rel=1e-5)


def published_file_scores(golden: Golden, thresholds: np.ndarray) -> dict[str, float]:
    """MTI-Net's loop over images and thresholds; the dtype of `thresholds` is that of the comparison."""
    probability = golden.tensor("sal_logit1")[:, 0].sigmoid().numpy()
    truth = golden.labels("sal_label").numpy() > 0
    mask = np.floor(probability * np.float32(255)) / np.float32(255) > thresholds[:, None, None, None]
    hits, axes = (mask & truth).sum((2, 3)), (2, 3)
    union = (mask | truth).sum(axes)
    iou = np.where(union > 0, hits / np.maximum(union, 1), 1.0).mean(1)
    precision = (hits / (mask.sum(axes) + 1e-12)).mean(1)
    recall = (hits / (truth.sum((1, 2)) + 1e-12)).mean(1)
    f = 2 * precision * recall / (precision + recall + 1e-12)
    return {"maxF": f.max(), "mIoU": iou.max()}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_golden_saliency_of_files(file: Path) -> None:
    """51/255 is not above the threshold 0.2, but numpy 2, which compares in float64, says that it is."""
    found = golden(file)
    values = found.values.get("sal", {})
    for key, thresholds in {
        "mti_net_from_saved_uint8_png": np.linspace(0.2, 0.9, 15),
        "mti_net_from_png_thr0.5_only": np.array([0.5]),
    }.items():
        if key in values:
            either = [published_file_scores(found, thresholds.astype(d)) for d in (np.float32, np.float64)]
            assert any(values[key] == pytest.approx(scores, abs=1e-6) for scores in either)
    if "mti_net_from_saved_uint8_png" in values:
        scores = fed(
            metrics.SaliencyScores(), found.tensor("sal_logit1"), found.labels("sal_label")
        ).compute()
        exact = published_file_scores(found, np.linspace(0.2, 0.9, 15).astype(np.float32))
        assert scores["sal.maxF.image.b1.file"] == pytest.approx(exact["maxF"], abs=1e-9)
        assert scores["sal.miou.image.file"] == pytest.approx(exact["mIoU"], abs=1e-9)

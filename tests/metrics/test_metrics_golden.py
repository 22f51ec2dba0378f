"""Values of the published meters, on arrays kept with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import ROOT
from torch import Tensor

from mtlbench.metrics import DepthError, MaxF, MeanIoU, NormalsError

FILES = sorted(
    file
    for file in (ROOT / "metrics").glob("*.json")
    if file.stem.startswith(("nyud", "pascal")) and "13" not in file.stem
)


class Golden:
    """One file: arrays, and the values that published code gave for them."""

    def __init__(self, file: Path) -> None:
        self.values: dict[str, Any] = json.loads(file.read_text())["values"]
        self._arrays = np.load(file.with_suffix(".npz"))

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self._arrays[name])

    def labels(self, name: str) -> Tensor:
        """Class maps without their channel axis."""
        return self.tensor(name)[:, 0].long()


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def test_golden_semseg(golden: Golden) -> None:
    logits = golden.tensor("semseg_logits")
    metric = MeanIoU(logits.shape[1])
    metric.update(logits, golden.labels("semseg_label"))
    value = metric.compute()["miou.dataset.absent0"]
    assert value == pytest.approx(golden.values["semseg"]["atrc_degmix_demt"], abs=1e-6)
    assert value == pytest.approx(golden.values["semseg"]["mti_net"], abs=1e-9)
    assert metric.confusion.diagonal().tolist() == golden.values["semseg"]["atrc_intersection"]


def test_golden_normals(golden: Golden) -> None:
    metric = NormalsError()
    metric.update(golden.tensor("normals_pred"), golden.tensor("normals_label"))
    value = metric.compute()["normals.mean.pixels.atan2"]
    assert value == pytest.approx(golden.values["normals"]["atrc_degmix_demt"], abs=2e-5)
    assert value == pytest.approx(golden.values["normals"]["invpt"]["mean"], abs=2e-5)


def test_golden_depth(golden: Golden) -> None:
    if "depth" not in golden.values:
        assert "depth_pred" not in golden._arrays
        return
    metric = DepthError()
    metric.update(golden.tensor("depth_pred"), golden.tensor("depth_label_raw0"))
    scores = metric.compute()
    assert scores["depth.rmse.pixels"] == pytest.approx(golden.values["depth"]["invpt"]["rmse"], rel=1e-6)
    assert scores["depth.rmse.pixels"] == pytest.approx(
        golden.values["depth"]["atrc_degmix_demt_zero_is_invalid"], rel=1e-6
    )
    assert scores["depth.abs_rel"] == pytest.approx(golden.values["depth"]["invpt"]["abs_rel"], rel=1e-5)


def test_golden_human_parts(golden: Golden) -> None:
    if "human_parts" not in golden.values:
        assert "parts_logits" not in golden._arrays
        return
    logits, labels = golden.tensor("parts_logits"), golden.labels("parts_label")
    metric, plain = MeanIoU(logits.shape[1], variant="parts.atrc"), MeanIoU(logits.shape[1])
    metric.update(logits, labels)
    plain.update(logits, labels)
    values = golden.values["human_parts"]
    assert metric.compute()["parts.atrc"] == pytest.approx(
        values["atrc_degmix_demt_after_AddIgnoreRegions"], abs=1e-6
    )
    assert plain.compute()["miou.dataset.absent0"] == pytest.approx(values["invpt_no_transform"], abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "key"),
    [
        ("sal_logits2", "sal_label_ignore", "atrc_degmix_demt_sal_logits2_sal_label_ignore"),
        ("sal_logits2", "sal_label", "atrc_degmix_demt_sal_logits2_sal_label"),
        ("sal_logit1", "sal_label_ignore", "atrc_sal_logit1_sal_label_ignore"),
    ],
)
def test_golden_saliency(golden: Golden, logits: str, labels: str, key: str) -> None:
    if "sal" not in golden.values:
        assert "sal_logits2" not in golden._arrays
        return
    metric = MaxF()
    metric.update(golden.tensor(logits), golden.labels(labels))
    assert metric.compute()["sal.maxF.dataset.b0.3"] == pytest.approx(golden.values["sal"][key], abs=1e-6)
    counts = golden.values["sal"]["atrc_tp_pp_ap_sal_logits2_sal_label_ignore"]
    if key == "atrc_degmix_demt_sal_logits2_sal_label_ignore":
        assert [metric.hits.tolist(), metric.predicted.tolist()] == counts[:2]
        assert [float(metric.actual)] * len(counts[2]) == counts[2]

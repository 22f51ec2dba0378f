"""`mtlbench profile`, from its arguments to its files."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from mtlbench.cli import app
from mtlbench.errors import MtlbenchError
from mtlbench.image_size import input_size, parse_size
from mtlbench.profiling.apart import Failed
from mtlbench.profiling.timing import Timing, measure
from mtlbench.registry import Registry
from mtlbench.spec import Choice

GRID: dict[str, Any] = {
    "dataset": {"name": "tiny"},
    "tasks": ["semseg", "depth"],
    "backbone": {"name": "tiny", "label": "HRNet18"},
    "method": [
        {"name": "troubled", "label": "multi-task baseline"},  # a 1x1 convolution a task
        {"name": "multi_task", "head_channels": 2, "label": "narrow [2]"},
        {"name": "segnet", "widths": [2, 2, 2, 2, 2], "label": "SegNet"},
    ],
    "balancer": ["equal", "uncertainty"],
    "baseline": {"name": "single_task", "label": "single task baseline"},
    "reference": "constant",
    "recipe": {"batch_size": 3},
    "seed": [0, 1],
    "published": "degmix_table1_nyud",
}
PIXELS = 4 * 6  # at stride 4
CLASSES, DEPTHS = 3, 1
BACKBONE_MACS = PIXELS * 8 * 27 + (6 + 2 + 1) * 8 * 72
BACKBONE_PARAMETERS = 8 * 28 + 3 * 8 * 73


def profile(folder: Path, *arguments: str, **changes: Any) -> Result:
    content = {key: value for key, value in {**GRID, **changes}.items() if value is not None}
    (folder / "grid.yaml").write_text(yaml.safe_dump(content))
    return CliRunner().invoke(app, ["profile", str(folder / "grid.yaml"), *arguments])


def test_counts(tmp_path: Path, tiny_registry: Registry) -> None:
    out = tmp_path / "made" / "profile.json"
    done = profile(tmp_path, "--no-time", "--out", str(out))
    assert done.exit_code == 0, done.output
    records = json.loads(out.read_text())
    assert [(r["method"], r["networks"]) for r in records] == [
        ("single task baseline", 2),
        ("multi-task baseline", 1),
        ("narrow [2]", 1),
        ("SegNet", 1),
    ]
    single, shared, narrow, segnet = records
    assert segnet["encoder_trainable"] == 0 < segnet["decoder_trainable"] == segnet["parameters"]
    assert segnet["module_macs"] > 0
    assert shared["macs"] == BACKBONE_MACS + PIXELS * 8 * (CLASSES + DEPTHS)
    assert shared["parameters"] == BACKBONE_PARAMETERS + 9 * (CLASSES + DEPTHS)
    head = 32 * 8 * 9 + 2 * 8
    assert single["parameters"] == 2 * (BACKBONE_PARAMETERS + head) + 9 * (CLASSES + DEPTHS)
    assert 2 * BACKBONE_MACS < single["macs"] < single["module_macs"]
    assert shared["input_size"] == "16x24"
    assert shared["published_gflops"] == 17.59
    assert shared["published_counted_at"] == "425x560"
    assert shared["module_macs_counted_there"] > 500 * shared["module_macs"]
    assert shared["parameters_off_percent"] == pytest.approx(100 * (shared["parameters"] / 4.52e6 - 1))
    assert shared["module_macs_off_percent"] == pytest.approx(
        100 * (shared["module_macs_counted_there"] / 17.59e9 - 1)
    )
    assert narrow["published_params_m"] is narrow["parameters_off_percent"] is None
    assert {r["latency_ms"] for r in records} == {None}
    assert "narrow [2]" in done.output
    assert "latency" not in done.output
    assert "not in this grid: ATRC on HRNet18: 5.06 M, 25.76 GFLOPs; parameters as in" in done.output
    assert "not in this grid: multi-task baseline on HRNet18" not in done.output


def test_tunings_beside_what_was_printed(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Timing(1.0, 2.0, 3.0, 4.0, 5.0, "it is an example")
    monkeypatch.setattr("mtlbench.profiling.lines.measure_apart", lambda cell, load: measured)
    out = tmp_path / "profile.json"
    tuned = {
        "backbone": {"name": "tiny", "label": "Swin-T"},
        "method": "multi_task",
        "balancer": "equal",
        "reference": None,
        "tuning": ["full", "decoder", {"name": "bitfit", "label": "Vpt deep"}, "lora"],
        "published": "degmix_table7_tuning_pascal",
    }
    done = profile(tmp_path, "--device", "cpu", "--out", str(out), **tuned)
    assert done.exit_code == 0, done.output
    records = json.loads(out.read_text())
    for record in records:
        parts = record["encoder_trainable"], record["decoder_trainable"]
        assert sum(parts) == record["total_trainable"]
        passes = (record["encoder_passes"], record["single_inference"])
        assert passes == ((1, True) if record["networks"] == 1 else (2, False))
    singles = [record["published_total_trainable_m"] for record in records if record["networks"] == 2]
    assert singles == [112.62, None, None, None], "the printed networks were trained in full"
    full, decoder, vpt, lora = (record for record in records if record["networks"] == 1)
    assert full["encoder_trainable"] == BACKBONE_PARAMETERS
    assert (decoder["encoder_trainable"], decoder["published_total_trainable_m"]) == (0, 1.94)
    assert decoder["total_trainable_off_m"] == pytest.approx(decoder["total_trainable"] / 1e6 - 1.94)
    assert vpt["published_encoder_trainable_m"] == pytest.approx(0.884)
    assert vpt["encoder_trainable_off_m"] == pytest.approx(vpt["encoder_trainable"] / 1e6 - 0.884)
    assert lora["published_single_inference"] == "no"
    assert lora["single_inference"]
    assert "multi_task on Swin-T, lora: single inference is printed as no" in done.output
    assert "multi_task on Swin-T, lora: inference was not merged: it is an example" in done.output
    assert "not in this grid: Adapter on Swin-T: trains 11.24 M; measured by" in done.output


def test_times(tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.profiling.lines.measure_apart", measure)  # here: a process takes seconds
    out = tmp_path / "profile.csv"
    arguments = ("--runs-per-measure", "1", "--batch", "2", "--size", "32x32", "--device", "cpu")
    only = {"method": "multi_task", "baseline": None, "published": None}
    done = profile(tmp_path, *arguments, "--out", str(out), **only)
    assert done.exit_code == 0, done.output
    (record,) = csv.DictReader(out.read_text().splitlines())
    assert (record["input_size"], record["batch"], record["device"]) == ("32x32", "2", "cpu")
    names = ("latency_ms", "images_per_second", "step_ms", "inference_mb", "training_mb")
    assert all(float(record[name]) >= 0 for name in names)
    assert record["failure"] == record["published_gflops"] == ""
    assert "at batch 2; medians of 1" in done.output
    assert "publ." not in done.output


def test_what_can_not_be_measured_is_said(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    monkeypatch.setattr(
        "mtlbench.profiling.lines.measure_apart", lambda cell, load: loads.append(load) or Failed("too large")
    )
    out = tmp_path / "profile.md"
    done = profile(tmp_path, "--device", "cpu", "--out", str(out), method="multi_task", baseline=None)
    assert done.exit_code == 1
    assert "multi_task on HRNet18: not measured: too large" in done.output
    assert [(load.batch, load.size) for load in loads] == [(3, (16, 24))]
    header, rule, line = out.read_text().splitlines()
    assert header.startswith("| backbone | method | params M |")
    assert rule.count("---") == line.count("|") - 1
    assert line.count("| - ") == 5


def test_recipes_matter_to_times_only(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.profiling.lines.measure_apart", lambda cell, load: Failed("not now"))
    recipes = [{"batch_size": 2, "label": "small"}, {"batch_size": 4, "label": "large"}]
    out = tmp_path / "p.json"
    same: dict[str, Any] = {"recipe": recipes, "method": "multi_task", "baseline": None}
    timed = profile(tmp_path, "--device", "cpu", "--out", str(out), **same)
    assert [r["recipe"] for r in json.loads(out.read_text())] == ["small", "large"]
    assert "recipe" in timed.output
    counted = profile(tmp_path, "--no-time", "--out", str(out), **same)
    assert counted.exit_code == 0, counted.output
    assert len(json.loads(out.read_text())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "16"), "--size: a size must be HEIGHTxWIDTH in pixels, e.g. 425x560, got '16'"),
        (("--device", "tpu"), "--device must be cpu, cuda or cuda:N, got 'tpu'"),
        (("--device", "cuda:99"), "--device cuda:99: this machine has"),
        (("--out", "table.txt"), "--out must end with .csv, .md, .json, got table.txt"),
        (("--set", "published=degmix"), "published: unknown published table `degmix`"),
        (("--set", "method=constant", "--set", "baseline=null"), "has no network to profile"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...], message: str, tmp_path: Path, tiny_registry: Registry
) -> None:
    done = profile(tmp_path, *arguments)
    assert isinstance(done.exception, MtlbenchError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("choice", "size"),
    [
        (Choice(name="nyud"), (425, 560)),
        (Choice(name="nyud", options={"size": "448x576"}), (448, 576)),
        (Choice(name="pascal_context"), (512, 512)),
        (Choice(name="rooms", options={"size": "64x96"}), (64, 96)),
        (Choice(name="cityscapes_mtan", options={"classes": 7}), (128, 256)),
    ],
)
def test_sizes_are_known_without_files(choice: Choice, size: tuple[int, int]) -> None:
    assert input_size(choice) == size


def test_a_size_that_only_files_tell(tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_registry.load("dataset", "tiny")
    for size in (None, property(lambda self: (1, 2))):
        monkeypatch.setattr(dataset, "size", size)
        with pytest.raises(MtlbenchError, match="the size of tiny's images is in its files only"):
            input_size(Choice(name="tiny"))


@pytest.mark.parametrize("text", ["", "5", "5x", "x5", "0x5", "5x6x7", "-1x5", "axb"])
def test_sizes_are_checked(text: str) -> None:
    with pytest.raises(MtlbenchError, match="HEIGHTxWIDTH"):
        parse_size(text)

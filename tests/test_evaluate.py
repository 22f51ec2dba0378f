"""`mtlbench evaluate`: networks from files, of ours and as released."""

import json
from pathlib import Path

import pytest
import torch
from golden_cases import Case, cases
from grid_runs import GridRuns
from mtlbench.datasets.layouts import make_rooms
from mtlbench.methods.segnet import SegNet
from typer.testing import CliRunner

from mtlbench.backbones.build import build_backbone
from mtlbench.backbones.recognise import recognise_backbone
from mtlbench.cli import app
from mtlbench.errors import MtlbenchError
from mtlbench.evaluate_command import held_backbone
from mtlbench.pickles import Dummy, load_tensors
from mtlbench.spec import Cell, Choice
from mtlbench.tasks import depth

(RELEASED,) = (c.values[0] for c in cases("mtl_baseline") if c.values[0].path.stem == "full_hrnet18_nyud")


class Callback:
    """Of a trainer that isn't installed where its checkpoints are read."""


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("was_run"),)  # type: ignore[return-value]


@pytest.fixture
def lightning_file(tmp_path: Path) -> Path:
    """The released baseline on HRNet18 as Lightning saves it."""
    assert isinstance(RELEASED, Case)
    state = RELEASED.published_state() | {"criterion.loss_dict.edge.aux.weight": torch.ones(2)}
    content = {"state_dict": state, "callbacks": {Callback: {"best": Callback()}}, "epoch": 403}
    torch.save(content, tmp_path / "released.ckpt")
    return tmp_path / "released.ckpt"


def test_a_released_network_is_scored(tmp_path: Path, lightning_file: Path) -> None:
    make_rooms(root=str(tmp_path / "nyud"), train=1, val=2, size="32x48", layout="nyud")
    grid = GridRuns(tmp_path)
    call = ("evaluate", "--method", "multi_task", "--dataset", "nyud", "--root", "nyud", "--out", "s.json")
    done = grid.mtlbench(*call, "--weights", str(lightning_file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "multi_task on hrnet18" in done.stdout
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["cell"]["backbone"]["name"] == "hrnet18"
    assert set(content["scores"]) == {"semseg", "depth", "normals", "edge"}
    assert f"{content['scores']['depth']['depth.rmse.pixels']:.4g}" in done.stdout
    given = ("--weights", str(lightning_file), "--backbone", "hrnet18")
    wrong = grid.mtlbench(*call, *given, "--option", "head_channels=9")
    assert wrong.returncode == 2
    assert "bottleneck.semseg.conv.weight: shape (67, 270, 3, 3) in the file, (9, 270, 3, 3)" in wrong.stderr


def test_a_network_without_a_backbone_needs_no_name_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_rooms(root=str(tmp_path / "nyud"), train=1, val=1, size="32x48", layout="nyud")
    widths = (2, 2, 2, 2, 2)
    network = SegNet(None, {"depth": depth()}, widths=widths)
    torch.save(network.state_dict(), "segnet.pth")
    call = ["evaluate", "--method", "segnet", "--weights", "segnet.pth", "--option", f"widths={list(widths)}"]
    done = CliRunner().invoke(app, [*call, "--dataset", "nyud", "--root", "nyud", "--tasks", "depth"])
    assert done.exit_code == 0, done.output
    assert done.output.split()[:2] == ["segnet", "task"]


def test_final_weights_say_what_backbone_they_are_of(tmp_path: Path) -> None:
    """Also where no backbone's parameters are in the file under its own names."""
    trunk = Choice(name="tiny", options={"weights": "pretrained", "width": 3})
    cell = Cell(
        dataset=Choice(name="rooms"),
        tasks=("depth",),
        backbone=trunk,
        method=Choice(name="cross_stitch"),
        balancer=Choice(name="equal"),
    )
    torch.save({"network": {}, "frozen": {}, "cell": cell.model_dump_json()}, tmp_path / "final.pt")
    found = held_backbone("cross_stitch", str(tmp_path / "final.pt"))
    assert found == Choice(name="tiny", options={"width": 3})


def test_unknown_classes_and_code_in_a_file_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"w": torch.eye(2), "half": torch.ones(3, dtype=torch.bfloat16), "evil": Malicious()}
    for zipped in (True, False):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        loaded = load_tensors(tmp_path / "w.pth")
        assert torch.equal(loaded["w"], torch.eye(2))
        assert loaded["half"].dtype == torch.bfloat16
        assert isinstance(loaded["evil"], Dummy)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", ["swin-t", "vit-b"])
def test_backbones_are_recognised(name: str, tmp_path: Path) -> None:
    state = {f"module.backbone.{key}": value for key, value in build_backbone(name).state_dict().items()}
    torch.save({"network": state | {"module.logits.weight": torch.ones(2)}}, tmp_path / "w.pth")
    assert recognise_backbone(str(tmp_path / "w.pth")) == name


def test_a_file_without_a_backbone_asks_for_its_name(tmp_path: Path) -> None:
    torch.save({"head.weight": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(MtlbenchError, match=r"none of ours fits\): say it with --backbone NAME"):
        recognise_backbone(str(tmp_path / "w.pth"))

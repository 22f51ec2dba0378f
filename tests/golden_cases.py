"""Golden cases of networks: a JSON file that describes a published network, an npz file with its outputs.

The cases stand in `tests/golden`, or in the folder that MTLBENCH_GOLDEN names. Everything about a case, its
tasks, widths, backbone and options, comes from its files.
"""

import json
import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.build import build_backbone
from mtlbench.tasks import Task, depth
from mtlbench.testing.filling import fill, image

ROOT = Path(os.environ.get("MTLBENCH_GOLDEN") or Path(__file__).parent / "golden")
BACKBONES = {
    r"HRNet18|HRNetV2-W18-small-v2": "hrnet18",
    r"HRNet48|HRNetV2-W48": "hrnet48",
    r"Swin-([TSBL])\b": r"swin-\1",
    r"ViT-([BL])\b": r"vit-\1",
    r"ResNet-(18|50), dilate_scale 8": r"resnet\1-dilated",
}
"""How a case describes its backbone (from the start of the text) -> our name."""
TOLERANCE = {"head": 1e-4, "model": 1e-3, "backbone": 1e-3}


@dataclass(frozen=True)
class Case:
    """One golden case."""

    path: Path

    @cached_property
    def spec(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @property
    def kind(self) -> str:
        return self.spec["kind"]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Published head parameters (without `head.`) and their shapes."""
        return {key.removeprefix("head."): tuple(shape) for key, shape, _ in self.spec["state_dict"]}

    def tasks(self) -> dict[str, Task]:
        """Networks ask a task for its channels only."""
        return {
            name: replace(depth(), name=name, channels=self.spec["channels"][name])
            for name in self.spec["tasks"]
        }

    def inputs(self) -> list[Tensor]:
        """The image, or the feature maps that a head takes; not the image that some heads are given too."""
        entries = self.spec["inputs"]
        maps = [entry for entry in entries if entry["name"].startswith("features.")]
        return [torch.from_numpy(image(entry["seed"], tuple(entry["shape"]))) for entry in maps or entries]

    def backbone(self) -> Backbone:
        """The case's backbone; for a head, something with the widths of its features."""
        if self.kind == "head":
            return Widths([x.shape[1] for x in self.inputs()])
        described = self.spec["options"]["backbone"]
        names = [(re.match(pattern, described), name) for pattern, name in BACKBONES.items()]
        found = [match.expand(name).lower() for match, name in names if match]
        assert found, f"{self.path.stem}: unknown backbone {described}"
        return build_backbone(found[0])

    def published_state(self) -> dict[str, Tensor]:
        """Every entry of the published state dict, filled by its name; integers zero."""
        return {
            key: torch.from_numpy(np.asarray(fill(key, tuple(shape))))
            if "float" in dtype
            else torch.zeros(shape).long()
            for key, shape, dtype in self.spec["state_dict"]
            if not any(part in key for part in self.spec["not_filled"])
        }


class Widths(Backbone):
    """A backbone that has widths and nothing else."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels


KINDS = ("head", "model", "backbone")
"""Of networks; files of other forms (losses, metrics, balancers) have readers of their own."""
TUNINGS = ("mtlora", "ditask")
"""Methods whose cases are networks with a tuning (`tests/tunings/test_golden.py`)."""


def cases(method: str = "*") -> list[Any]:
    """Pytest parameters, one for each case of a method, or of all but those with a tuning."""
    found = [Case(path) for path in sorted(ROOT.glob("**/*.json"))]
    networks = [case for case in found if case.spec.get("kind") in KINDS]
    any_method = method == "*"
    chosen = [
        case
        for case in networks
        if case.spec["method"] == method or (any_method and case.spec["method"] not in TUNINGS)
    ]
    return [pytest.param(case, id=f"{case.spec['method']}-{case.path.stem}") for case in chosen]


def load_filled(case: Case, network: nn.Module, rename: Any, *, dead: str) -> None:
    """Fill the network: every published entry must become one of ours, every one of ours must get a value.

    Args:
        case: has the published names.
        network: ours.
        rename: a state dict with published names -> with ours.
        dead: pattern of published entries that have no effect, the only ones that may vanish.
    """
    published = case.published_state()
    ours = rename(published)
    vanished = [key for key in published if not rename({key: published[key]})]
    assert [key for key in vanished if not re.search(dead, key)] == []
    assert len(ours) == len(published) - len(vanished), "two published entries became one"
    expected = {key: value.shape for key, value in network.state_dict().items()}
    parts = case.spec["not_filled"]
    constructed = [*parts, *rename({key: torch.zeros(()) for key in parts})]  # under either name
    missing = [key for key in expected if key not in ours and not any(part in key for part in constructed)]
    assert missing == []
    assert {key: value.shape for key, value in ours.items()} == {key: expected.get(key) for key in ours}
    network.load_state_dict(ours, strict=False)  # strict=False: the constructed entries, checked above


def compare(case: Case, outputs: dict[str, Tensor]) -> float:
    """Assert that all outputs agree; the largest difference, in standard deviations where these exceed 1."""
    assert set(outputs) == set(case.spec["outputs"])
    tolerance, largest = TOLERANCE[case.kind], 0.0
    with np.load(case.path.with_suffix(".npz")) as golden:
        for name, expected in case.spec["outputs"].items():
            found, scale = outputs[name].numpy(), max(1.0, expected["std"])
            assert list(found.shape) == expected["shape"], name
            differences = [
                found[_strided(expected["stride"])] - golden[name],
                found.ravel()[: len(expected["first8"])] - np.asarray(expected["first8"]),
                found.mean(dtype=np.float64) - expected["mean"],
                _std_difference(found, expected["std"]),
            ]
            worst = max(float(np.abs(difference).max()) for difference in differences) / scale
            assert worst <= tolerance, f"{name}: {worst:.2g} > {tolerance}"
            largest = max(largest, worst)
    return largest


def _std_difference(found: np.ndarray, expected: float) -> float:
    """Files say the standard deviation of the values (numpy's) or of what they are a sample of (torch's)."""
    both = [abs(found.std(dtype=np.float64, ddof=d) - expected) for d in (0, 1)]
    return float(np.min(both))


def _strided(stride: int | list[int]) -> tuple[Any, ...]:
    """Every `stride`-th row and column; a list has a number for each axis."""
    if isinstance(stride, int):
        return ..., slice(None, None, stride), slice(None, None, stride)
    return tuple(slice(None, None, step) for step in stride)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())

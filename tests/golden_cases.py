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
from golden_fill import fill, image
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.build import build_backbone
from mtlbench.tasks import Task, depth

ROOT = Path(os.environ.get("MTLBENCH_GOLDEN") or Path(__file__).parent / "golden")
BACKBONES = {"HRNet18-S": "hrnet18"}  # the others differ from our names in capitals only
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
        return [
            torch.from_numpy(image(entry["seed"], tuple(entry["shape"]))) for entry in self.spec["inputs"]
        ]

    def backbone(self) -> Backbone:
        """The case's backbone; for a head, something with the widths of its features."""
        if self.kind == "head":
            return Widths([entry["shape"][1] for entry in self.spec["inputs"]])
        name = self.spec["options"]["backbone"]
        return build_backbone(BACKBONES.get(name, name.lower()))

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


def cases(method: str) -> list[Any]:
    """Pytest parameters, one for each case of a method."""
    return [pytest.param(Case(path), id=path.stem) for path in sorted((ROOT / method).glob("*.json"))]


def _filled(key: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    if "float" in dtype:
        return torch.from_numpy(np.asarray(fill(key, shape)))
    return torch.zeros(shape, dtype=torch.long)


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
    constructed = case.spec["not_filled"]
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
            found, scale, step = outputs[name].numpy(), max(1.0, expected["std"]), expected["stride"]
            assert list(found.shape) == expected["shape"], name
            differences = [
                found[..., ::step, ::step] - golden[name],
                found.ravel()[: len(expected["first8"])] - np.asarray(expected["first8"]),
                found.mean(dtype=np.float64) - expected["mean"],
                found.std(dtype=np.float64) - expected["std"],
            ]
            worst = max(float(np.abs(difference).max()) for difference in differences) / scale
            assert worst <= tolerance, f"{name}: {worst:.2g} > {tolerance}"
            largest = max(largest, worst)
    return largest


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())

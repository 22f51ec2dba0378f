"""Tunings with published code against it, on all golden cases that there are: networks, layers, maps.

Files of other methods are left to the tests of methods.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import ROOT, TUNINGS, Case
from golden_methods import load, module_of, run
from mtlbench.tunings.layers.cpab import velocities, warp
from mtlbench.tunings.layers.ditask_linear import DiTASKLinear
from mtlbench.tunings.layers.mtlora_linear import MTLoRALinear
from mtlbench.tunings.layers.spectra import deform
from torch import Tensor, nn

from mtlbench.method_weights import published_to_ours
from mtlbench.testing.filling import fill, image

NETWORKS, LAYERS = 5e-4, 1e-5
"""Largest differences: of networks in standard deviations of the output, of layers as they are."""


def form(spec: dict[str, Any], path: Path) -> str | None:
    """What a file holds; None: nothing of these tunings."""
    if spec.get("method") in TUNINGS:
        return "network"
    if "modes" in spec:
        return "mtlora layer"
    if "lead" in spec and "layers" in spec:
        return "ditask layer"
    cases = spec.get("cases")
    if isinstance(cases, list) and cases and isinstance(cases[0], dict) and "tess" in cases[0]:
        return "cpab"
    return "unknown" if path.parent.name in TUNINGS else None


FILES = {path: json.loads(path.read_text()) for path in sorted(ROOT.glob("**/*.json"))}
FORMS = {path: form(spec, path) for path, spec in FILES.items() if isinstance(spec, dict)}


def found(kind: str) -> list[Any]:
    """Pytest parameters, one for each file of a form."""
    return [
        pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path, f in FORMS.items() if f == kind
    ]


def assert_near(outputs: dict[str, Tensor], path: Path, tolerance: float, *, deviations: bool) -> None:
    """All outputs agree, on what the file samples of them; in standard deviations or absolutely."""
    expected = FILES[path]["outputs"]
    assert outputs.keys() == expected.keys()
    with np.load(path.with_suffix(".npz")) as golden:
        for name, described in expected.items():
            value = outputs[name].detach().numpy()
            assert list(value.shape) == described["shape"], name
            steps = tuple(slice(None, None, step) for step in described.get("stride", [1] * value.ndim))
            differences = [
                value[steps] - golden[name],
                value.ravel()[:8] - np.asarray(described["first8"]),
                value.mean(dtype=np.float64) - described["mean"],
            ]
            worst = max(float(np.abs(difference).max()) for difference in differences)
            limit = tolerance * (described["std"] if deviations else 1.0)
            assert worst <= limit, f"{name}: {worst:.2g} > {limit:.2g}"


@pytest.mark.parametrize("path", found("network"))
def test_golden_networks(path: Path) -> None:
    case = Case(path)
    network = load(case)
    assert_near(run(case, network), path, NETWORKS, deviations=True)
    frozen = {key: torch.zeros(case.shapes[key]) for key in case.spec["frozen_parameters"]}
    named = dict(network.named_parameters())
    assert {n for n, p in named.items() if not p.requires_grad} == published_to_ours(network, frozen).keys()  # type: ignore[arg-type]
    trained = sum(p.numel() for p in named.values() if p.requires_grad)
    assert trained == case.spec["trainable_parameters"]


@pytest.mark.parametrize("path", found("network"))
def test_golden_networks_notice_a_changed_weight(path: Path) -> None:
    case = Case(path)
    network = load(case)
    with torch.no_grad():
        next(p for name, p in network.named_parameters() if name.endswith("lora_shared_A"))[:] += 1.0
    with pytest.raises(AssertionError, match=r"[\w.]+: [\d.]+"):
        assert_near(run(case, network), path, NETWORKS, deviations=True)


def test_golden_options_by_their_defaults() -> None:
    """Published: what a task has no rank and no scale for has the shared ones, whatever `TASK_SCALE` says."""
    case = Case(Path(__file__).parents[1] / "golden" / "mtlora" / "swin_plus_pascal_3tasks.json")
    options = case.spec["options"]["model"]["MTLORA"]
    options |= {
        "R": [4, 3, 2, 1],
        "R_PER_TASK": {},
        "SHARED_SCALE": [2.0, 1.0, 1.0, 0.5],
        "TASK_SCALE": [9.0],
    }
    network: Any = module_of(case).build(case)
    layers = [part for part in network.modules() if isinstance(part, MTLoRALinear) and part.tasks]
    found = [{(len(x.lora_tasks_A[t]), x.task_scale[t]) for t in x.tasks} for x in layers]
    expected = [{(r, s)} for r, s in zip(options["R"], options["SHARED_SCALE"], strict=True)]
    assert found == [each for each in expected for _ in ("proj", "fc1", "fc2")]


def filled(layer: nn.Module, entries: list[tuple[str, list[int], str]]) -> nn.Module:
    state = {key: torch.from_numpy(np.asarray(fill(key, tuple(shape)))) for key, shape, _ in entries}
    layer.load_state_dict(state)
    return layer.eval()


def streams_of(layer: Any, x: Tensor, own: list[Tensor] | None, prefix: str) -> dict[str, Tensor]:
    """All outputs for the shared stream and the tasks' (in the order of `layer.tasks`), under their names."""
    outputs = layer.outputs(x, None if own is None else torch.stack(own), tasks=bool(layer.tasks))
    return dict(zip([f"{prefix}.{name}" for name in ("shared", *layer.tasks)], outputs, strict=True))


def given(entry: dict[str, Any]) -> Tensor:
    return torch.from_numpy(image(entry["seed"], tuple(entry["shape"])))


@pytest.mark.parametrize("path", found("mtlora layer"))
def test_golden_mtlora_layers(path: Path) -> None:
    spec, outputs = FILES[path], dict[str, Tensor]()
    config, inputs = spec["config"], spec["inputs"]
    x, own = given(inputs["x"]), [given(inputs["x_tasks"][task]) for task in config["tasks"]]
    for mode, described in spec["modes"].items():
        alone = mode in ("shared_only", "lora_only")
        tasks = [] if alone else config["tasks"]
        layer = MTLoRALinear(
            nn.Linear(config["in_features"], config["out_features"], bias=config["bias"]),
            r=config["r"]["shared"],
            task_r={task: config["r"][task] for task in tasks},
            scale=config["lora_shared_scale"],
            task_scale=config["lora_task_scale"],
            mode="matrix" if alone else mode,
            flow="opens",
        )
        filled(layer, described["state_dict"])
        assert sum(p.numel() for p in layer.parameters()) == described["parameters"]
        outputs |= streams_of(layer, x, None, f"{mode}.plain")
        outputs |= {} if alone else streams_of(layer, x, own, f"{mode}.tasks")
    assert_near(outputs, path, LAYERS, deviations=False)


@pytest.mark.parametrize("path", found("ditask layer"))
def test_golden_ditask_layers(path: Path) -> None:
    spec, outputs = FILES[path], dict[str, Tensor]()
    tasks, cells = spec["config"]["tasks"], spec["config"]["r"]
    for name, described in spec["layers"].items():
        linear = nn.Linear(described["in_features"], described["out_features"], bias=described["bias"])
        own_cells = {task: cells[task] for task in tasks}
        layer = DiTASKLinear(linear, cells=cells["shared"], task_cells=own_cells, flow="opens")
        filled(layer, described["state_dict"])
        assert layer.groups == described["split"]
        shape, seed = (*spec["lead"], described["in_features"]), spec["seed"]
        x, *own = (torch.from_numpy(image(seed + i, shape)) for i in range(1 + len(tasks)))
        outputs |= streams_of(layer, x, None, f"{name}.plain") | streams_of(layer, x, own, f"{name}.tasks")
        weights = zip(("shared", *tasks), layer.deformed_weights(), strict=True)
        outputs |= {f"{name}.w.{stream}": w for stream, w in weights}
    assert_near(outputs, path, LAYERS, deviations=False)


@pytest.mark.parametrize("path", found("cpab"))
def test_golden_maps(path: Path) -> None:
    """Maps, what they make of spectra, their gradients, and the basis that makes velocities of parameters."""
    with np.load(path.with_suffix(".npz")) as golden:
        for i, case in enumerate(FILES[path]["cases"]):
            value = {name: torch.from_numpy(golden[f"c{i}.{name}"]) for name in CPAB}
            assert_basis(value["theta"], golden.get(f"c{i}.basis"))
            theta, last = value["theta"].requires_grad_(), case["points"] - 1
            phi = warp(theta, torch.linspace(0, 1, last + 1, dtype=torch.float64))
            gradient = torch.stack([torch.autograd.grad(y, theta, retain_graph=True)[0][0] for y in phi])
            data = deform(value["data"][None], theta)[0]
            for name, y in {"phi64": phi, "phi32": phi, "data64": data, "grad_fd64": gradient}.items():
                difference = (y.double() - value[name].double()).abs().max().item()
                assert difference <= LAYERS, f"c{i}.{name}: {difference:.2g} > {LAYERS}"


CPAB = ("theta", "data", "phi32", "phi64", "data64", "grad_fd64")


def assert_basis(theta: Tensor, basis: np.ndarray | None) -> None:
    """The basis, where a case has it, makes slopes and offsets of all cells; velocities follow from them."""
    if basis is not None:
        cells = basis.shape[0] // 2
        slope, offset = (torch.from_numpy(basis).double() @ theta[0].double()).unflatten(0, (-1, 2)).T
        expected = torch.arange(cells) / cells * slope + offset
        torch.testing.assert_close(velocities(theta.double())[0, :-1], expected, rtol=1e-5, atol=1e-5)


def test_golden_files_are_known() -> None:
    assert [path for path, kind in FORMS.items() if kind == "unknown"] == [], "nothing here can build these"


@pytest.mark.skipif("MTLBENCH_GOLDEN" in os.environ, reason="another folder may hold cases of methods only")
def test_golden_folder_holds_cases() -> None:
    assert set(FORMS.values()) >= {"network", "mtlora layer", "ditask layer", "cpab"}

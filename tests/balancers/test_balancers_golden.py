"""Weights and gradients that published balancers gave, on matrices and sequences of losses kept with them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import ROOT
from mtlbench.balancers.dwa import DWA
from mtlbench.balancers.pcgrad import project
from mtlbench.balancers.uncertainty import Uncertainty

from mtlbench.balancing import Step
from mtlbench.tasks import depth

GRAMIANS = sorted((ROOT / "balancers").glob("gram_*.json"))
UNCERTAINTY = sorted((ROOT / "balancers").glob("seq_uw.json"))
DWA_FILES = sorted((ROOT / "balancers").glob("seq_dwa.json"))


def names(count: int) -> dict[str, Any]:
    return {f"task{i}": depth() for i in range(count)}


def step(losses: torch.Tensor, epoch: int = 0) -> Step:
    return Step(0, epoch, torch.arange(len(losses)), losses, torch.Generator())


@pytest.mark.parametrize("file", GRAMIANS, ids=lambda file: file.stem)
def test_golden_pcgrad(file: Path) -> None:
    case = json.loads(file.read_text())
    expected = case["results"]["pcgrad_torchjd"]
    rows = torch.tensor(case["G"], dtype=torch.float64)
    combined = project(rows @ rows.T, case["visit_order"]) @ rows
    reference = torch.tensor(expected["combined"], dtype=torch.float64)
    assert torch.allclose(combined, reference, rtol=0, atol=1e-8 * float(reference.abs().max()))


@pytest.mark.parametrize("file", UNCERTAINTY, ids=lambda file: file.stem)
@pytest.mark.parametrize("source", ["libmtl_sgd_lr0.1", "torchjd_sgd_lr0.1", "nash-mtl_sgd_lr0.1"])
def test_golden_uncertainty(file: Path, source: str) -> None:
    case = json.loads(file.read_text())
    result = case["results"][source]
    balancer = Uncertainty(names(case["T"]), init=result["init"][0]).double()
    for losses, expected in zip(case["losses"], result["steps"], strict=True):
        values = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
        balancer.zero_grad()
        balancer.total(values, step(values.detach())).backward()
        gradient = balancer.log_variance.grad
        assert gradient is not None
        assert gradient.tolist() == pytest.approx(expected["grad"], rel=1e-8)
        if "weights_used" in expected and source.startswith("libmtl"):
            assert values.grad is not None
            factor = float(values.grad[0]) / expected["weights_used"][0]
            assert values.grad.tolist() == pytest.approx(
                [factor * w for w in expected["weights_used"]], rel=1e-8
            )
        with torch.no_grad():
            balancer.log_variance -= 0.1 * gradient
        assert balancer.log_variance.tolist() == pytest.approx(expected["param_after"], rel=1e-8)


@pytest.mark.parametrize("file", DWA_FILES, ids=lambda file: file.stem)
def test_golden_dwa(file: Path) -> None:
    case = json.loads(file.read_text())
    assert case["weights_per_epoch"]
    for source, weights in case["weights_per_epoch"].items():
        balancer = DWA(names(case["T"]), temperature=float(source.rpartition("_T")[2]))
        for epoch, batches in enumerate(case["batch_losses"]):
            for losses in batches:
                values = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
                place = step(values.detach(), epoch)
                balancer.total(values, place).backward()
                assert values.grad is not None
                assert values.grad.tolist() == pytest.approx(weights[epoch], rel=1e-8), source
                balancer.observe(place)

"""Readers of golden results of balancers that project, or solve a quadratic problem on the Gramian."""

import re
from typing import Any

import torch
from golden_balancers import Case, Reader, SequenceReader, assert_close, make_step, tasks, vector
from mtlbench.balancers.cagrad import CAGrad
from mtlbench.balancers.dualproj import DualProj
from mtlbench.balancers.gradvac import GradVac, vaccinate
from mtlbench.balancers.mgda import MGDA
from mtlbench.balancers.pcgrad import PCGrad, project
from mtlbench.balancers.upgrad import UPGrad
from torch import Tensor

from mtlbench.balancing import Unsolvable, Weighting
from mtlbench.solving import solve


def setting(key: str, name: str, default: float) -> float:
    """The number after `name` in a key, such as 0.4 in `cagrad_exact_c0.4`."""
    found = re.search(rf"_{name}([0-9.]+(?:e-?\d+)?)", key)
    return float(found[1]) if found else default


def compare(case: Case, key: str, expected: Any, weights: Tensor, tolerance: float) -> None:
    """What weights combine, and the weights, as far as published; relative to the largest of the combined.

    A weight counts by what it moves: those of small gradients are known to fewer digits.
    """
    combined = vector(expected["weights"]) @ case.rows if "weights" in expected else None
    combined = vector(expected["combined"]) if "combined" in expected else combined
    assert combined is not None, f"{key}: nothing to compare with"
    assert_close(weights @ case.rows, combined.tolist(), tolerance, f"{key}, combined")
    if "weights" in expected:
        error = (weights - vector(expected["weights"])).abs() * case.rows.norm(dim=1)
        bound = tolerance * float(combined.abs().max())
        assert float(error.max()) <= bound, f"{key}, weights: {weights}, {expected['weights']}"


def own_weights_are_one(balancer: Weighting, case: Case, expected: Any) -> None:
    """`decoder_factor` is the weight of the gradients of a task's own parameters; ours is 1."""
    assert balancer.own_weights(case.step()) is None
    assert set(expected.get("decoder_factor", [1.0])) == {1.0}


def read_pcgrad(case: Case, key: str, expected: Any) -> None:
    """LibMTL visits the task itself, too, and adds 1e-8 to squared norms: what this does to the smallest."""
    libmtl = "libmtl" in key
    weights = project(case.gramian, torch.tensor(case.content["visit_order"]), self_visit=libmtl)
    squares = case.gramian.diagonal()
    tolerance = max(1e-6, 2e-8 / float(squares[squares > 0].min())) if libmtl else 1e-8
    compare(case, key, expected, weights, tolerance)
    own_weights_are_one(PCGrad(tasks(case.count), self_visit=libmtl), case, expected)


def read_gradvac(case: Case, key: str, expected: Any) -> None:
    """Both libraries add 1e-8 to products of norms and to other denominators."""
    content, beta = case.content, setting(key, "beta", 0.5)
    orders = torch.tensor(content["results"]["gradvac_visit_order"])
    targets = GradVac(tasks(case.count), beta=beta).targets
    for index, then in enumerate(expected):
        rows = torch.tensor(content["G"][index], dtype=torch.float64)
        weights, targets = vaccinate(rows @ rows.T, targets, orders, beta)
        tolerance = 1e-8 * (1 + 4 / min(1.0, float((rows @ rows.T).diagonal().min())))
        assert_close(weights @ rows, then["combined"], tolerance, f"{key}, step {index}, combined")
        if "weights" in then:
            assert_close(weights, then["weights"], tolerance, f"{key}, step {index}, weights")
        rho = [value for row in then["rho"] for value in row]
        assert_close(targets.flatten(), rho, tolerance, f"{key}, step {index}, targets")
        assert set(then.get("decoder_factor", [1.0])) == {1.0}


def read_cone(case: Case, key: str, expected: Any) -> None:
    """Asked directly, since published code doesn't leave tasks out whose gradient is zero."""
    kind = UPGrad if key.startswith("upgrad") else DualProj
    balancer = kind(tasks(case.count), reg_eps=setting(key, "reg", 1e-4))
    compare(case, key, expected, balancer.weights(case.gramian, case.step()), 1e-8)
    own_weights_are_one(balancer, case, expected)


def read_cagrad(case: Case, key: str, expected: Any) -> None:
    """Compared at 1e-8 with exact solutions and at 1e-3 with libraries, where these have solved the problem.

    They have not, by their numbers: where a gradient is zero or the update undefined (0 in the convex hull;
    the exact solution has no weights then); where all weights are 0 (TorchJD); where LibMTL's point on the
    simplex is worse than ours by more than 1e-7 of |g_0|^2, or its 1e-8 under roots is no longer small.
    """
    c, rescale = setting(key, "c", 0.4), int(setting(key, "rescale", 0))
    balancer = CAGrad(tasks(case.count), c=c, rescale=rescale)  # type: ignore[arg-type]
    own_weights_are_one(balancer, case, expected)
    try:
        weights = solve(balancer, case.gramian, case.step())
    except Unsolvable:
        exact = case.content["results"].get(f"cagrad_exact_c{c:g}", {"weights": None})
        assert "weights" not in exact or stationary(case.gramian), f"{key}: it has a solution"
        return
    if (case.gramian.diagonal() == 0).any():
        nonzero = case.gramian.diagonal() > 0
        check_cagrad(case.gramian[nonzero][:, nonzero], weights[nonzero] * balancer.divisor, c)
        return
    weights = weights * balancer.divisor
    point = check_cagrad(case.gramian, weights, c)
    if "exact" in key:
        compare(case, key, expected, weights, 1e-8)
        norms = case.rows.norm(dim=1)
        theirs = vector(expected["simplex_w"]) * norms
        assert_close(point * norms, theirs.tolist(), 1e-7, f"{key}, point on the simplex")
    elif "torchjd" in key and not any(expected["weights"]):
        return
    elif "libmtl" in key:
        theirs = vector(expected["returned_weights"])
        excess = objective(case.gramian, theirs, c) - objective(case.gramian, point, c)
        mean_square = float(case.gramian.mean())
        assert excess >= -1e-9 * mean_square, f"{key}: our objective is higher by {-excess}"
        smallest = min(mean_square, float(theirs @ case.gramian @ theirs))
        if excess <= 1e-7 * mean_square and smallest >= 1e-4:
            compare(case, key, expected, weights / balancer.divisor, 1e-3)
    else:
        compare(case, key, expected, weights / balancer.divisor, 1e-3)


def objective(gramian: Tensor, point: Tensor, c: float) -> float:
    """What CAGrad minimises over the simplex."""
    norm = (point @ gramian @ point).clamp(min=0).sqrt()
    return float(point @ gramian.mean(1) + c * gramian.mean().sqrt() * norm)


def check_cagrad(gramian: Tensor, weights: Tensor, c: float) -> Tensor:
    """Conditions of optimality of CAGrad without rescaling; returns the point on the simplex.

    |d - g_0| = c |g_0|; d - g_0 is a nonnegative combination; and the gradients in it are those that d
    descends least, all alike (each inner product in units of |g_i| |g_0|).
    """
    raised = weights - 1 / len(weights)
    length = gramian.mean().sqrt()
    assert (raised >= -1e-12 * weights.abs().max()).all(), raised
    assert abs(float((raised @ gramian @ raised).sqrt() / length) - c) <= 1e-6 * c
    gains, units = gramian @ weights, gramian.diagonal().sqrt() * length
    used = raised * gramian.diagonal().sqrt() > 1e-9 * length
    excess = (gains[used][:, None] - gains) / torch.maximum(units[used][:, None], units)
    assert (excess <= 1e-7).all(), excess
    return raised / raised.sum()


def stationary(gramian: Tensor) -> bool:
    """Whether 0 is in the convex hull of the gradients, to rounding."""
    norms = gramian.diagonal().sqrt()
    point = MGDA(tasks(len(gramian)), normalize="l2").weights(gramian, make_step(torch.ones(len(gramian))))
    return float(point @ gramian @ point) <= 1e-9 or bool((norms == 0).any())


def read_mgda(case: Case, key: str, expected: Any) -> None:
    """Our point has the least norm: no published one has less, and each lies as far off as its norm says.

    For the point d of least norm in a convex set and any other point p, |p - d|^2 <= |p|^2 - |d|^2; a wrong
    d, or a p of another set, breaks this. Not compared where published code gave up or saw a zero gradient.
    """
    found = re.fullmatch(r"mgda_(?:libmtl_(\S+)|torchjd\S*|exact)", key)
    assert found, key
    balancer = MGDA(tasks(case.count), normalize=found[1] or "none")  # type: ignore[arg-type]
    own_weights_are_one(balancer, case, expected)
    weights = solve(balancer, case.gramian, case.step())
    nonzero = case.gramian.diagonal() > 0
    scale = {"l2": case.gramian.diagonal().sqrt(), "loss": case.losses}
    scale["loss+"] = scale["l2"] * scale["loss"]
    rows = case.rows[nonzero] / scale.get(balancer.normalize, torch.ones(case.count))[nonzero, None]
    alpha = weights[nonzero] * case.rows[nonzero].norm(dim=1) / rows.norm(dim=1)
    rounding = 1e-12 * float((alpha[:, None] * rows).abs().sum())
    ours = alpha @ rows
    least = float(ours @ ours)
    assert (alpha >= 0).all()
    assert abs(float(alpha.sum()) - 1) <= 1e-12
    slack = least - rows @ ours  # <= 0 for the point of least norm
    assert (slack <= 1e-9 * least + rounding * rows.norm(dim=1)).all(), slack
    if "raises" in expected or not nonzero.all():
        return
    theirs = vector(expected["combined"])
    if "exact" in key:
        assert least <= float(expected["sq_norm"]) * (1 + 1e-9) + rounding**2
    # LibMTL's losses are in single precision
    relative = 1e-6 if "loss" in key else 1e-9 if "libmtl" in key else 1e-13
    tolerance = relative * float(theirs @ theirs) + rounding**2
    assert float((theirs - ours) @ (theirs - ours)) <= float(theirs @ theirs) - least + tolerance
    if "weights" in expected:
        assert_close(vector(expected["weights"]) @ rows, expected["combined"], 1e-8, f"{key}, their update")


READERS_GRAM: dict[str, Reader] = {
    r"pcgrad_(libmtl|torchjd)": read_pcgrad,
    r"(upgrad|dualproj)_(libmtl|torchjd|exact)\S*": read_cone,
    r"cagrad_(libmtl|torchjd|exact)_c\S+": read_cagrad,
    r"mgda_(libmtl|torchjd|exact)\S*": read_mgda,
}
READERS_STEPS: dict[str, Reader] = {r"gradvac_(libmtl|torchjd)\S*": read_gradvac}
READERS_SEQUENCE: dict[str, SequenceReader] = {}

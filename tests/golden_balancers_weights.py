"""Readers of golden results: weights in closed form or by Newton's method.

Settings stand in the keys, e.g. `fairgrad_libmtl_alpha2`. Whether a published result is one is decided by the
numbers in it: each reader says how, and asks for the balancer's own optimality where it isn't.
"""

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import torch
from golden_balancers import Case, Reader, SequenceReader, assert_close, make_step, tasks, vector
from mtlbench.balancers.aligned_mtl import AlignedMTL
from mtlbench.balancers.config import ConFIG
from mtlbench.balancers.fairgrad import FairGrad
from mtlbench.balancers.gradnorm import GradNorm
from mtlbench.balancers.imtl import IMTL
from mtlbench.balancers.imtl_g import IMTLG
from mtlbench.balancers.nash_mtl import NashMTL
from torch import Tensor

from mtlbench.balancing import Step, Unsolvable, Weighting
from mtlbench.solving import solve

TOLERANCE = 1e-8
NEAR_PARALLEL = 1e-5
DEPENDENT = 1e-10
"""Smallest eigenvalue of the cosines' matrix, over the largest, of gradients that count as dependent."""


def directions(rows: Tensor) -> Tensor:
    """Those of the rows that are not zero, each divided by its length."""
    norms = rows.norm(dim=1, keepdim=True)
    return (rows / norms)[norms.flatten() > 0]


def independence(rows: Tensor) -> float:
    """Smallest over largest eigenvalue of the cosines' matrix."""
    values = torch.linalg.svdvals(directions(rows)).square()
    return float(values[-1] / values[0]) if len(values) == len(directions(rows)) else 0.0


def tolerance(rows: Tensor, safe: float = 1e12) -> float:
    """Infinite where published code can't tell whether rows are dependent, or works on a K without digits.

    Digits are lost in proportion to the condition of the cosines' matrix; published code loses them by the
    condition of K itself, that is by the sizes of rows, too, from the condition `safe` on.
    """
    found = independence(rows)
    rank = int((torch.linalg.svdvals(directions(rows)).square() > DEPENDENT).sum())
    sizes = torch.linalg.svdvals(rows)
    condition = float((sizes[0] / sizes[rank - 1]) ** 2)
    if 1e-29 < found <= DEPENDENT or condition > 1e14:
        return torch.inf
    near = NEAR_PARALLEL if DEPENDENT < found < 1e-6 else TOLERANCE
    return near if condition < safe else max(near, 1e-15 * condition)


def cancels(rows: Tensor, zero: float) -> bool:
    """Whether a convex combination of directions of rows has a squared length of at most about `zero`.

    Then some of them are dependent through coefficients of one sign, and any fewer are not.
    """
    unit = directions(rows)
    for count in range(2, len(unit) + 1):
        for chosen in combinations(range(len(unit)), count):
            part = unit[list(chosen)]
            values, vectors = torch.linalg.eigh(part @ part.T)
            if values[0] < zero and (vectors[:, 0] * vectors[0, 0] > 0).all():
                return True
    return False


def finite(expected: dict[str, Any]) -> bool:
    return all(bool(vector(v).isfinite().all()) for v in expected.values() if isinstance(v, list))


def check_weights(found: Tensor, rows: Tensor, expected: dict[str, Any], close: float, what: str) -> None:
    """Combined gradient; weights too, unless rows are nearly parallel, of the rows that are not zero."""
    if "combined" in expected and close < torch.inf:
        assert_close(found @ rows, expected["combined"], close, f"{what}, combined")
    if "weights" in expected and close == TOLERANCE:
        kept = rows.norm(dim=1) > 0
        assert_close(found[kept], vector(expected["weights"])[kept].tolist(), close, f"{what}, weights")


def check_own(
    balancer: Weighting, step: Step, expected: dict[str, Any], kept: Tensor, close: float, what: str
) -> None:
    """Factors of own parameters, of the tasks whose gradient is not zero."""
    if "decoder_factor" in expected:
        own = balancer.own_weights(step)
        found = torch.ones(len(kept)) if own is None else own
        assert_close(found[kept], vector(expected["decoder_factor"])[kept].tolist(), close, f"{what}, own")


def read_imtl(case: Case, key: str, expected: Any) -> None:
    """Dependent rows have no agreed answer; a zero row makes LibMTL's NaN."""
    kept = case.rows.norm(dim=1) > 0
    log_scale = vector(expected.get("loss_scale", [0.0] * case.count))
    for balancer in [IMTL(tasks(case.count))] + [IMTLG(tasks(case.count))] * ("loss_scale" not in expected):
        if isinstance(balancer, IMTL):
            balancer.log_scale.data.copy_(log_scale)
        try:
            found = solve(balancer, case.gramian, case.step())
        except Unsolvable:
            found = None
        if isinstance(balancer, IMTL):
            check_own(balancer, case.step(), expected, kept, TOLERANCE, key)
            if "loss_scale_grad" in expected:
                assert balancer.log_scale.grad is not None
                wanted = vector(expected["loss_scale_grad"])
                assert_close(balancer.log_scale.grad[kept], wanted[kept].tolist(), TOLERANCE, f"{key}, grad")
        if independence(case.rows) <= DEPENDENT:
            assert found is None or found.isfinite().all()
            continue
        assert found is not None
        projections = directions(case.rows) @ (found @ case.rows)
        spread = float((projections - projections.mean()).abs().max())
        assert spread <= tolerance(case.rows) * float(case.rows.norm(dim=1)[kept].min()), (
            f"{key}: {projections}"
        )
        if "returned_weights" in expected and kept.all():
            alpha = found / log_scale.exp()
            check_weights(
                alpha, case.rows, {"weights": expected["returned_weights"]}, tolerance(case.rows), key
            )
        if finite(expected) and "combined" in expected:
            check_weights(found, case.rows, expected, tolerance(case.rows), key)
        else:
            assert not kept.all(), f"{key}: no published gradient, though there is no zero row"


def imbalance(gramian: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """Relative errors of (K w)_i = w_i^(-1/alpha)."""
    return (gramian @ weights) * weights ** (1 / alpha) - 1


def fair(balancer: Weighting, case: Case, alpha: float, what: str) -> Tensor | None:
    """Own weights before any clipping, checked by the equation that they solve; None if rows cancel."""
    kept = case.rows.norm(dim=1) > 0
    gramian = case.gramian[kept][:, kept]
    try:
        solve(balancer, case.gramian, case.step())
    except Unsolvable:
        assert cancels(case.rows, 1e-11), f"{what}: there is a solution"
        return None
    found = balancer.own_weights(case.step())
    assert found is not None
    assert not cancels(case.rows, 1e-14), f"{what}: there is no solution"
    assert (found > 0).all()
    rounding = 1e-13 * (gramian.abs() @ found[kept]) * found[kept] ** (1 / alpha)  # of K w
    assert (imbalance(gramian, found[kept], alpha).abs() <= rounding.clamp(min=TOLERANCE)).all(), what
    return found


def distance(gramian: Tensor, weights: Tensor, alpha: float) -> float:
    """How far, relatively, weights are from the solution: the length of a Newton step from there.

    In relative changes of w the derivative of w_i (K w)_i - w_i^(1 - 1/alpha) is, but for what vanishes at
    the solution, W K W + W^(1 - 1/alpha) / alpha.
    """
    scale = weights ** (1 - 1 / alpha)
    slope = torch.outer(weights, weights) * gramian + (scale / alpha).diag()
    step = torch.linalg.solve_ex(slope, imbalance(gramian, weights, alpha) * scale)[0]
    return float(step.nan_to_num(nan=torch.inf).abs().max())


def check_roughly(found: Tensor, published: Tensor, away: float, what: str) -> None:
    """Published weights that a solver left too early: as near as their distance says, if that is small."""
    if away < 0.1:
        assert_close(found, published.tolist(), 2 * away, f"{what}, {away} away from the solution")


def read_nash(case: Case, key: str, expected: Any) -> None:
    """Published weights count where they solve their equation to 5e-5."""
    max_norm = 0.0 if key in ("nash_libmtl_noclip", "nash_exact") else 1.0
    balancer = NashMTL(tasks(case.count), max_norm=max_norm)
    found = fair(balancer, case, 1.0, key)
    if "raises" in expected or found is None:
        return
    clipped = solve(balancer, case.gramian, case.step())
    if max_norm:
        assert (clipped @ case.rows).norm() <= max_norm + TOLERANCE
    published = vector(expected.get("returned_weights", expected.get("weights")))
    scale = (case.count**0.5 / (published @ case.rows).norm()) if "torchjd" in key else 1.0  # it is clipped
    away = distance(case.gramian, published * scale, 1.0)
    if away > 5e-5:
        check_roughly(found, published * scale, away, key)
        return
    close = TOLERANCE if "exact" in key else 1e-4
    assert_close(clipped @ case.rows, expected["combined"], close, f"{key}, combined")
    assert_close(found, (published * scale).tolist(), close, f"{key}, weights")
    check_own(balancer, case.step(), expected, torch.ones(case.count, dtype=torch.bool), close, key)


def read_fairgrad(case: Case, key: str, expected: Any) -> None:
    """Published weights count where they solve their equation to 5e-6."""
    alpha = float(key.rpartition("_alpha")[2])
    balancer = FairGrad(tasks(case.count), alpha=alpha)
    found = fair(balancer, case, alpha, key)
    if "raises" in expected or found is None:
        return
    published = vector(expected.get("returned_weights", expected.get("weights")))
    away = distance(case.gramian, published, alpha)
    if away > 5e-6:
        assert "exact" not in key
        check_roughly(found, published, away, key)
        return
    close = TOLERANCE if "exact" in key else 1e-5
    assert_close(found, published.tolist(), close, f"{key}, weights")
    assert_close(found @ case.rows, expected["combined"], close, f"{key}, combined")
    check_own(balancer, case.step(), expected, torch.ones(case.count, dtype=torch.bool), close, key)


def polar(rows: Tensor, scale: str) -> Tensor:
    """Sum of the rows that are orthogonal, of one length, and nearest to `rows` but for that length."""
    left, sizes, right = torch.linalg.svd(rows[rows.norm(dim=1) > 0], full_matrices=False)
    rank = int((torch.linalg.svdvals(directions(rows)).square() > DEPENDENT).sum())
    kept = sizes[:rank]
    size = {"min": kept[-1], "median": kept.median(), "rmse": kept.square().mean().sqrt()}[scale]
    return size * left[:, :rank].sum(0) @ right[:rank]


def read_aligned(case: Case, key: str, expected: Any) -> None:
    """LibMTL adds, TorchJD takes the mean over all rows, zero or not."""
    scale: Any = (re.findall(r"_(min|median|rmse)$", key) or ["min"])[0]
    balancer = AlignedMTL(tasks(case.count), scale=scale)
    found = solve(balancer, case.gramian, case.step())
    found[case.rows.norm(dim=1) == 0] = 0.0
    close = tolerance(case.rows)
    if close < torch.inf:
        assert_close(found @ case.rows, polar(case.rows, scale).tolist(), close, f"{key}, polar factor")
    found = found if "libmtl" in key else found / case.count
    names = {"weights": expected.get("weights", expected.get("returned_weights"))}
    check_weights(found, case.rows, expected | names, tolerance(case.rows, safe=1e7), key)
    check_own(balancer, case.step(), expected, torch.ones(case.count, dtype=torch.bool), TOLERANCE, key)


def read_config(case: Case, key: str, expected: Any) -> None:
    """Where rows cancel, no direction may be left; TorchJD then follows rounding errors."""
    try:
        found = solve(ConFIG(tasks(case.count)), case.gramian, case.step())
    except Unsolvable:
        assert cancels(case.rows, 1e-11), f"{key}: there is a direction"
        return
    assert found.isfinite().all()
    check_weights(found, case.rows, expected, tolerance(case.rows), key)


def steps(case: Case) -> Iterator[tuple[Tensor, Step]]:
    for index, (rows, losses) in enumerate(zip(case.content["G"], case.content["losses"], strict=True)):
        yield torch.stack([vector(row) for row in rows]), make_step(vector(losses), index, 1)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}


def read_gradnorm(case: Case, key: str, expected: Any) -> None:
    match = re.fullmatch(r"gradnorm_libmtl_alpha(.+)_(sgd|adam)_lr(.+)", key)
    assert match
    balancer = GradNorm(tasks(case.count), alpha=float(match[1]), weigh_own=False)
    balancer.initial_losses.copy_(vector(case.content["results"]["gradnorm_initial_losses"]))
    balancer.counts.fill_(1)
    optimizer = OPTIMIZERS[match[2]](balancer.parameters(), lr=float(match[3]))
    for (rows, step), wanted in zip(steps(case), expected, strict=True):
        what = f"{key}, step {step.index}"
        found = solve(balancer, rows @ rows.T, step)
        assert_close(found, wanted["weights_used"], TOLERANCE, f"{what}, weights")
        assert_close(found @ rows, wanted["combined"], TOLERANCE, f"{what}, combined")
        check_own(balancer, step, wanted, torch.ones(case.count, dtype=torch.bool), TOLERANCE, what)
        assert balancer.logits.grad is not None
        assert_close(balancer.logits.grad, wanted["grad_of_scale"], TOLERANCE, f"{what}, grad")
        optimizer.step()
        balancer.observe(step)
        assert_close(balancer.logits.detach(), wanted["scale_after"], TOLERANCE, f"{what}, scale")


def read_nash_sequence(case: Case, key: str, expected: Any) -> None:
    """Each solve counts as in `read_nash`; in between LibMTL clips anew, so that directions are compared."""
    every = int(key.rpartition("_every")[2])
    balancer = NashMTL(tasks(case.count), every=every)
    for (rows, step), wanted in zip(steps(case), expected, strict=True):
        what = f"{key}, step {step.index}"
        published = vector(wanted["returned_weights"])
        if step.index % every == 0:
            found = solve(balancer, rows @ rows.T, step)
            assert imbalance(rows @ rows.T, balancer.alpha, 1.0).abs().max() <= TOLERANCE, what
            away = distance(rows @ rows.T, published, 1.0)
        if away > 5e-5:
            check_roughly(balancer.alpha, published, away, what)
            continue
        own = balancer.own_weights(step)
        assert own is not None
        assert_close(own, wanted["returned_weights"], 1e-4, f"{what}, alpha")
        assert_close(own, wanted["decoder_factor"], 1e-4, f"{what}, own")
        clipped = found @ rows
        if step.index % every:
            clipped = clipped / clipped.norm() * min(1.0, float((own @ rows).norm()))
        assert_close(clipped, wanted["combined"], 1e-4, f"{what}, combined")


READERS_GRAM: dict[str, Reader] = {
    r"imtl[gh]_(libmtl|torchjd)": read_imtl,
    r"nash_(libmtl|libmtl_noclip|torchjd|exact)": read_nash,
    r"fairgrad_(libmtl|torchjd|exact)_alpha[\d.e+-]+": read_fairgrad,
    r"aligned_(libmtl_eigh_for_symeig|libmtl|torchjd_(min|median|rmse))": read_aligned,
    r"config_(torchjd|from_gram)": read_config,
}
READERS_STEPS: dict[str, Reader] = {
    r"gradnorm_libmtl_alpha[\d.e+-]+_(sgd|adam)_lr[\d.e+-]+": read_gradnorm,
    r"nash_libmtl_every\d+": read_nash_sequence,
}
READERS_SEQUENCE: dict[str, SequenceReader] = {}

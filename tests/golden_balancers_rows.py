"""Readers of golden results: balancers that need rows, and those that need several batches.

Settings stand in the keys, e.g. `dbmtl_libmtl_beta0.9_sigma0`. LibMTL and TorchJD agree here, so that all is
compared at 1e-8.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from golden_balancers import Case, Reader, SequenceReader, assert_close, make_step, tasks, vector
from mtlbench.balancers.db_mtl import DBMTL
from mtlbench.balancers.excess_mtl import ExcessMTL
from mtlbench.balancers.graddrop import GradDrop
from mtlbench.balancers.moco import MoCo
from mtlbench.balancers.modo import MoDo
from mtlbench.balancers.sdmgrad import SDMGrad
from torch import Tensor

from mtlbench.balancing import Aggregation, CrossWeighting

TOLERANCE = 1e-8


def settings(key: str) -> dict[str, float]:
    """`moco_libmtl_beta0.5_rho0` -> {"beta": 0.5, "rho": 0.0}."""
    return {m[1]: float(m[2]) for m in re.finditer(r"_([a-z]+)(\d[\d.e+-]*)(?=_|$)", key)}


def steps(case: Case) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index, rows (T, D) and losses (T,) of each step."""
    for index, (rows, losses) in enumerate(zip(case.content["G"], case.content["losses"], strict=True)):
        yield index, torch.tensor(rows, dtype=torch.float64), vector(losses)


def follow(balancer: Aggregation, case: Case, key: str, expected: list[dict[str, Any]]) -> None:
    """Step by step: the gradient, the factor of own parameters, and the weights where those are known."""
    for (index, rows, losses), wanted in zip(steps(case), expected, strict=False):
        step = make_step(losses, index, index)
        assert_close(balancer.combine(rows.clone(), step), wanted["combined"], TOLERANCE, f"{key} {index}")
        own = balancer.own_weights(step)
        if "decoder_factor" in wanted:
            found = torch.ones(case.count) if own is None else own
            assert_close(found, wanted["decoder_factor"], TOLERANCE, f"{key} {index}, own weights")
        else:
            assert own is None
        if isinstance(balancer, MoCo):
            assert_close(
                balancer.preference, wanted["returned_weights"], TOLERANCE, f"{key} {index}, weights"
            )
        if "weights" in wanted:  # those of ExcessMTL as TorchJD has it
            assert_close(
                vector(wanted["weights"]) @ rows, wanted["combined"], TOLERANCE, f"{key} {index}, sum"
            )


def read_db_mtl(case: Case, key: str, expected: Any) -> None:
    follow(DBMTL(tasks(case.count), **settings(key)), case, key, expected)


def read_moco(case: Case, key: str, expected: Any) -> None:
    follow(MoCo(tasks(case.count), **settings(key)), case, key, expected)


def read_excess(case: Case, key: str, expected: Any) -> None:
    variant: Any = key.split("_")[1]
    balancer = ExcessMTL(tasks(case.count), step_size=settings(key).get("step", 0.01), variant=variant)
    follow(balancer, case, key, expected)


def follow_batches(balancer: CrossWeighting, case: Case, key: str, expected: list[dict[str, Any]]) -> None:
    """The weights from two batches, and their sum of a third's rows.

    `decoder_factor` is the engine's: 1 for the mean over three batches, 3 for their sum (SDMGrad in LibMTL).
    """
    rows = [r for _, r, _ in steps(case)]
    losses = [found for _, _, found in steps(case)]
    for index, wanted in enumerate(expected):
        one, two = wanted["batches_for_weights"]
        third = wanted["batch_for_update"]
        found = balancer.weights(rows[one] @ rows[two].T, make_step(losses[third], index, index))
        assert_close(found @ rows[third], wanted["combined"], TOLERANCE, f"{key} {index}")
        if "weights" in wanted:
            assert_close(found, wanted["weights"], TOLERANCE, f"{key} {index}, weights")
        if "simplex_weights" in wanted:
            state = balancer.get_buffer("preference")
            assert_close(state, wanted["simplex_weights"], TOLERANCE, f"{key} {index}, simplex")
        assert balancer.own_weights(make_step(losses[third], index, index)) is None


def read_modo(case: Case, key: str, expected: Any) -> None:
    follow_batches(MoDo(tasks(case.count), **settings(key)), case, key, expected)


def read_sdmgrad(case: Case, key: str, expected: Any) -> None:
    given = settings(key)
    inner: Any = {"inner_steps": int(given.pop("niter", 20))}
    follow_batches(SDMGrad(tasks(case.count), **given, **inner), case, key, expected)


def drop(balancer: GradDrop, rows: Tensor, uniform: Tensor, features: tuple[Tensor, ...] = ()) -> Tensor:
    step = replace(make_step(torch.ones(len(rows))), features=features)
    return balancer.masked(rows.clone(), uniform, step)


def read_graddrop_parameters(case: Case, key: str, expected: Any) -> None:
    """The leaks (T,) of `combined_leak` aren't given: D equations linear in them say what they are."""
    rows, uniform = next(steps(case))[1], vector(expected["U"])
    plain = GradDrop(tasks(case.count), variant="parameter")
    assert_close(drop(plain, rows, uniform), expected["combined"], TOLERANCE, key)
    everything = [
        drop(GradDrop(tasks(case.count), variant="parameter", leak={name: 1.0}), rows, uniform)
        for name in tasks(case.count)
    ]
    gains = torch.stack(everything) - vector(expected["combined"])
    gap = vector(expected["combined_leak"]) - vector(expected["combined"])
    leak = torch.linalg.lstsq(gains.T, gap[:, None], driver="gelsd").solution.flatten().clamp(0, 1)
    by_task = dict(zip(tasks(case.count), leak.tolist(), strict=True))
    leaky = GradDrop(tasks(case.count), variant="parameter", leak=by_task)
    assert_close(drop(leaky, rows, uniform), expected["combined_leak"], TOLERANCE, f"{key}, leak {by_task}")


def read_graddrop_representation(case: Case, key: str, expected: Any) -> None:
    features = torch.tensor(expected["rep"], dtype=torch.float64)
    rows = torch.tensor(expected["per_task_grad"], dtype=torch.float64).flatten(1)
    balancer = GradDrop(tasks(len(rows)), leak=expected["leak"])
    wanted = vector([value for sample in expected["combined_at_rep"] for value in sample]).tolist()
    for maps in ((features,), features.split([2, features.shape[1] - 2], dim=1)):  # one map, and two
        places = torch.arange(features.numel()).view(features.shape).split([m.shape[1] for m in maps], dim=1)
        order = torch.cat([place.flatten() for place in places])
        found = drop(balancer, rows[:, order], vector(expected["U"]), tuple(maps))
        assert_close(found, [wanted[i] for i in order.tolist()], TOLERANCE, f"{key}, {len(maps)} maps")


READERS_GRAM: dict[str, Reader] = {}
READERS_STEPS: dict[str, Reader] = {
    r"dbmtl_libmtl_.*": read_db_mtl,
    r"moco_libmtl.*": read_moco,
    r"excess_(libmtl|torchjd).*": read_excess,
    r"modo_(libmtl|torchjd).*": read_modo,
    r"sdmgrad_(libmtl|torchjd).*": read_sdmgrad,
    r"graddrop_torchjd_params": read_graddrop_parameters,
    r"graddrop_libmtl_rep": read_graddrop_representation,
}
READERS_SEQUENCE: dict[str, SequenceReader] = {}

"""Balancers of TorchJD, under the names `torchjd:NAME`, when it is installed.

Quinton, Rey: Jacobian Descent for Multi-Objective Optimization, arXiv 2406.16232; https://torchjd.org.

NAME is that of an aggregator, weighting or scalarizer; where an aggregator and a scalarizer have one name,
it is `aggregation.NAME` or `scalarization.NAME`. What works on the Gramian costs no more than the Gramian.
Vectors with one value per task are lists, in the order of the grid's tasks. Some need more than TorchJD
itself, and say so. State belongs to a set of tasks, as in TorchJD: steps in which other tasks take part
have a state of their own.
"""

from functools import cache
from pathlib import Path
from typing import Any

from mtlbench.errors import MtlbenchError

from ._installed import Library, summaries

LIBRARY = Library("torchjd", "torchjd", "TorchJD", "torchjd")
MODULES = ("aggregation", "scalarization")
LEFT_OUT = {
    "Aggregator": "it is abstract",
    "Weighting": "it is abstract",
    "Scalarizer": "it is abstract",
    "WeightedAggregator": "it is made of a weighting object",
    "GramianWeightedAggregator": "it is made of a weighting object",
    "CRMOGMWeighting": "it is made of a weighting object",
    "NashMTL": "its state, in numpy arrays and a cvxpy problem, can't be saved; there is `nash_mtl`",
    "FAMO": "its state, in an optimizer of its own, can't be saved; there is `famo`",
    "DWA": "its state, in Python lists, can't be saved; there is `dwa`",
}


def names() -> dict[str, str]:
    """Name -> summary; imports nothing."""
    folder = LIBRARY.folder()
    if folder is None:
        return LIBRARY.hint()
    return {f"torchjd:{name}": summary for name, (_, summary) in sorted(_listed(folder).items())}


def find(name: str) -> type[Any] | None:
    """The balancer called `torchjd:NAME`, or None if TorchJD has no NAME.

    Raises:
        MtlbenchError: TorchJD isn't installed, or NAME can't be used.
    """
    folder = LIBRARY.require(name)
    wanted = name.removeprefix("torchjd:")
    module, _, bare = wanted.rpartition(".")
    offered = [m for m in MODULES if m in (module or m) and bare in summaries(folder / m)]
    if not offered:
        return None
    if bare in LEFT_OUT:
        raise MtlbenchError(f"balancer `{name}` is not offered: {LEFT_OUT[bare]}")
    if len(offered) > 1:
        both = " or ".join(f"`torchjd:{m}.{bare}`" for m in offered)
        raise MtlbenchError(f"balancer `{name}` is ambiguous: {both}")
    return _made(offered[0], bare, name)


@cache
def _made(module: str, name: str, title: str) -> type[Any]:
    from ._torchjd_kinds import make_balancer

    return make_balancer(module, name, title)


def _listed(folder: Path) -> dict[str, tuple[str, str]]:
    """Name -> module and summary; a weighting whose aggregator is offered isn't listed beside it."""
    found = {m: {n: s for n, s in summaries(folder / m).items() if n not in LEFT_OUT} for m in MODULES}
    everything = {f"{m}.{n}": (m, s) for m, offered in found.items() for n, s in offered.items()}
    listed = {}
    for qualified, (module, summary) in everything.items():
        name = qualified.rpartition(".")[2]
        if name.removesuffix("Weighting") in found[module] and name.endswith("Weighting"):
            continue
        shared = sum(name in offered for offered in found.values()) > 1
        listed[qualified if shared else name] = (module, summary)
    return listed

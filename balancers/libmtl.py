"""Balancers of LibMTL 1.1.5, the release on the package index, under the names `libmtl:NAME`.

Lin, Zhang: LibMTL: A Python Library for Multi-Task Learning, JMLR 2023.

NAME is that of a weighting. Options carry LibMTL's names and defaults. Its code runs as it is, on stand-ins:
a shared parameter and one parameter per task, in losses whose gradients are the task gradients; what it
leaves in their `.grad` is the update, and the factor of each task's own parameters. What LibMTL's optimizer
learns has an Adam of its own here, with LibMTL's default learning rate.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from mtlbench.errors import MtlbenchError

from ._installed import Library, summaries

LIBRARY = Library("libmtl", "LibMTL", "LibMTL", "LibMTL==1.1.5")


@dataclass(frozen=True)
class Known:
    """How to use a weighting.

    Attributes:
        on: what it works on.
        options: name -> type and default.
        learns: it has a number per task that the optimizer trains.
        tasks: how many it is written for; 0: any number.
    """

    on: Literal["losses", "gradients", "representation"]
    options: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    learns: bool = False
    tasks: int = 0


Distribution = Literal["Uniform", "Normal", "Dirichlet", "Bernoulli", "constrained_Bernoulli"]
KNOWN = {
    "EW": Known("losses"),
    "UW": Known("losses", learns=True),
    "DWA": Known("losses", {"T": (float, 2.0)}),
    "GLS": Known("losses"),
    "RLW": Known("losses", {"dist": (Distribution, "Normal")}),
    "GradNorm": Known("gradients", {"alpha": (float, 1.5)}, learns=True),
    "PCGrad": Known("gradients"),
    "GradVac": Known("gradients", {"beta": (float, 0.5)}),
    "IMTL": Known("gradients", learns=True),
    "CAGrad": Known("gradients", {"calpha": (float, 0.5), "rescale": (int, 1)}, tasks=3),
    "GradDrop": Known("representation", {"leak": (float, 0.0)}),
}
LEFT_OUT = {
    "AbsWeighting": "it is abstract",
    "MGDA": "the loop of its solver doesn't count its steps and may never end; there is `mgda`",
}


def names() -> dict[str, str]:
    """Name -> summary; imports nothing."""
    folder = LIBRARY.folder()
    if folder is None:
        return LIBRARY.hint()
    offered = summaries(folder / "weighting")
    return {f"libmtl:{name}": offered[name] for name in sorted(offered) if name in KNOWN}


def find(name: str) -> type[Any] | None:
    """The balancer called `libmtl:NAME`, or None if LibMTL has no NAME.

    Raises:
        MtlbenchError: LibMTL isn't installed, or NAME can't be used.
    """
    folder = LIBRARY.require(name)
    wanted = name.removeprefix("libmtl:")
    if wanted not in summaries(folder / "weighting"):
        return None
    if wanted not in KNOWN:
        reason = LEFT_OUT.get(wanted, "it isn't part of release 1.1.5, the one that is supported")
        raise MtlbenchError(f"balancer `{name}` is not offered: {reason}")
    return _made(wanted)


@cache
def _made(name: str) -> type[Any]:
    from ._libmtl_kinds import make_balancer

    return make_balancer(name, LIBRARY.require(f"libmtl:{name}"), KNOWN[name])

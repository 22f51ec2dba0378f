"""The published ways to score boundaries, under names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

Truth = Literal["edges", "labels", "boundaries"]
"""What a ground truth holds: edges drawn into a picture, which is outlined as if it were a segmentation; a
map of labels, which is outlined; or boundaries, taken as they are. All three are thinned."""


MOST_THRESHOLDS = 1000
"""Predictions have 256 values."""


def even_thresholds(count: int) -> tuple[float, ...]:
    """`count` thresholds from 1 / (count + 1) to count / (count + 1), rounded as `numpy.linspace` does.

    Raises:
        MtlbenchError: `count` is less than 1, or above `MOST_THRESHOLDS`.
    """
    if not 1 <= count <= MOST_THRESHOLDS:
        raise MtlbenchError(f"`thresholds` must be 1 to {MOST_THRESHOLDS}, got {count}")
    return tuple(np.linspace(1 / (count + 1), 1 - 1 / (count + 1), count).tolist())


HED = (0.001, *(k / 100 for k in range(1, 100)), 0.999)
"""The 101 thresholds of SEISM's `HED.txt`, decimals as the file has them."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to compare predicted boundaries with true ones.

    Attributes:
        name: prefix of the scores' names.
        max_dist: how far apart matched pixels may be, as a share of the image's diagonal; in (0, 1).
        thresholds: on the strength in [0, 1], ascending.
        strict: a pixel is predicted where its strength is > t, else where it is >= t.
        nms: suppress what is no ridge of the strength first, as SEISM's reader does.
        truth: what ground-truth files hold.
        source: the code whose rules these are.
    """

    name: str
    max_dist: float
    thresholds: tuple[float, ...]
    strict: bool
    nms: bool
    truth: Truth
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.max_dist < 1:
            raise MtlbenchError(f"`max_dist` must lie between 0 and 1, got {self.max_dist}")
        ascending = all(low < high for low, high in zip(self.thresholds, self.thresholds[1:], strict=False))
        if not self.thresholds or not ascending or self.thresholds[0] <= 0 or self.thresholds[-1] >= 1:
            raise MtlbenchError("`thresholds` must ascend and lie between 0 and 1, both excluded")
        if self.truth not in get_args(Truth):
            raise MtlbenchError(f"`truth` must be one of {', '.join(get_args(Truth))}, got {self.truth!r}")


_NAMED = (
    Protocol(
        name="edge.seism.nyud",
        max_dist=0.011,
        thresholds=HED,
        strict=True,
        nms=True,
        truth="edges",
        source="SEISM, as ATRC and InvPT use it on NYUD-v2",
    ),
    Protocol(
        name="edge.seism.pascal",
        max_dist=0.0075,
        thresholds=HED,
        strict=True,
        nms=True,
        truth="labels",
        source="SEISM, as ATRC and InvPT use it on PASCAL-Context",
    ),
    Protocol(
        name="edge.mti.pascal",
        max_dist=0.0075,
        thresholds=even_thresholds(99),
        strict=False,
        nms=False,
        truth="labels",
        source="MTI-Net and its code base, on PASCAL-Context",
    ),
    Protocol(
        name="edge.bsds",
        max_dist=0.0075,
        thresholds=even_thresholds(99),
        strict=False,
        nms=False,
        truth="boundaries",
        source="py-bsds500, with one annotation an image",
    ),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in _NAMED}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        MtlbenchError: there is none.
    """
    if name not in PROTOCOLS:
        raise MtlbenchError(unknown("boundary protocol", name, tuple(PROTOCOLS)))
    return PROTOCOLS[name]

"""Reductions over the processes of one cell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def local_rank() -> int:
    """Which process of a cell this is on its machine, known before they connect; 0 starts the others."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def mean_over_ranks(fabric: Fabric, values: Tensor) -> Tensor:
    return values if fabric.world_size == 1 else cast(Tensor, fabric.all_reduce(values, reduce_op="mean"))


def sum_over_ranks(fabric: Fabric, values: Tensor) -> Tensor:
    return values if fabric.world_size == 1 else cast(Tensor, fabric.all_reduce(values, reduce_op="sum"))


def any_rank(fabric: Fabric, flags: Tensor) -> Tensor:
    """Elementwise: true on all ranks where it is true on one."""
    return flags if fabric.world_size == 1 else sum_over_ranks(fabric, flags.float()) > 0

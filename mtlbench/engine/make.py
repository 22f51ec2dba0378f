"""Which engine carries a balancer out."""

from __future__ import annotations

from lightning_fabric import Fabric
from torch import nn

from mtlbench.balancing import Aggregation, Balancer, CrossWeighting, Scalarization, Weighting
from mtlbench.engine.base import Engine
from mtlbench.engine.cross import CrossEngine
from mtlbench.engine.gradient import GradientEngine
from mtlbench.engine.scalar import ScalarEngine
from mtlbench.tasks import Tasks


def make_engine(
    balancer: Balancer, network: nn.Module, tasks: Tasks, fabric: Fabric, *, passes: str = "auto"
) -> Engine:
    """The engine for a balancer's kind.

    Args:
        balancer: moved to the device if it works there.
        network: the bare module whose parameters are trained; gradients are cut at its `backbone`, if any.
        tasks: in the order of the balancer's weights.
        fabric: for the device and the ranks.
        passes: how the backbone's task gradients are computed: `sequential`, `batched`, or `auto` for what a
            short timing in the first step finds faster.
    """
    if isinstance(balancer, Scalarization):
        return ScalarEngine(balancer, network, tasks, fabric)
    if isinstance(balancer, CrossWeighting):
        return CrossEngine(balancer, network, tasks, fabric, passes=passes)
    assert isinstance(balancer, Weighting | Aggregation)
    return GradientEngine(balancer, network, tasks, fabric, passes=passes)

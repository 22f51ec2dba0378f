"""Which parameters a loss reaches, read from the autograd graph."""

from typing import Any

from torch import Tensor, nn


def reached_parameters(loss: Tensor) -> set[nn.Parameter]:
    """All leaf parameters that `loss` depends on; must be called before the graph is freed."""
    found: set[nn.Parameter] = set()
    seen: set[Any] = set()
    stack: list[Any] = [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # the node that accumulates into a leaf
            found.add(node.variable)
        stack.extend(following for following, _ in node.next_functions)
    return found

"""Which leaves tensors depend on, read from the autograd graph."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def reached_leaves(tensors: Iterable[Tensor]) -> set[Tensor]:
    """All leaf tensors that need a gradient and that `tensors` depend on; to be called before the graph is
    freed.
    """
    tensors = list(tensors)
    found = {t for t in tensors if t.requires_grad and t.grad_fn is None}
    seen: set[Any] = set()
    stack: list[Any] = [t.grad_fn for t in tensors]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # the node that accumulates into a leaf
            found.add(node.variable)
        stack.extend(following for following, _ in node.next_functions)
    return found

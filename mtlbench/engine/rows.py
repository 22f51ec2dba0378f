"""Storage of task gradients, used again in every step, and inner products of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

CHUNK = 2**14
"""Inner products are summed in float32 over this many numbers, then in float64: one float32 sum over 10^7
numbers is wrong in the third digit, and slower."""


def inner_products(first: Tensor, second: Tensor) -> Tensor:
    """(T, P) and (S, P) -> (T, S) float64."""
    whole = first.shape[1] // CHUNK * CHUNK
    rest = first[:, whole:].float() @ second[:, whole:].float().T
    chunks = [x[:, :whole].float().reshape(len(x), -1, CHUNK).transpose(0, 1) for x in (first, second)]
    return torch.bmm(chunks[0], chunks[1].transpose(1, 2)).double().sum(0) + rest.double()


class Rows:
    """One row per task, over some parameters; all rows in one matrix (T, P) float32."""

    def __init__(self, parameters: Sequence[nn.Parameter], count: int) -> None:
        self.parameters = list(parameters)
        self._sizes = [p.numel() for p in self.parameters]
        device = self.parameters[0].device if self.parameters else None
        self.matrix = torch.zeros(count, sum(self._sizes), device=device)
        self._pieces = [self.split(row) for row in self.matrix]
        self._index = {p: i for i, p in enumerate(self.parameters)}
        self._written: set[tuple[int, int]] = set()

    def begin(self) -> None:
        """Forget the last step."""
        self._written.clear()

    def add(self, task: int, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
        """Add gradients of some of the parameters to a task's row; the first of a step replace."""
        pairs = zip(parameters, gradients, strict=True)
        found = [(self._index[p], g) for p, g in pairs if g is not None]
        fresh = [(i, g) for i, g in found if (task, i) not in self._written]
        others = [(i, g) for i, g in found if (task, i) in self._written]
        self._written.update((task, i) for i, _ in fresh)
        if fresh:
            torch._foreach_copy_([self._pieces[task][i] for i, _ in fresh], [g for _, g in fresh])
        if others:
            torch._foreach_add_([self._pieces[task][i] for i, _ in others], [g for _, g in others])

    def of(self, tasks: Sequence[int]) -> Tensor:
        """The rows of these tasks (T, P); stretches that this step has not written are zero."""
        for task in tasks:
            for i, piece in enumerate(self._pieces[task]):
                if (task, i) not in self._written:
                    piece.zero_()
        return self.matrix if list(tasks) == list(range(len(self.matrix))) else self.matrix[list(tasks)]

    def split(self, vector: Tensor) -> list[Tensor]:
        """The stretch of a (P,) vector that belongs to each parameter, in its shape."""
        stretches = vector.split(self._sizes)
        return [s.view(p.shape) for s, p in zip(stretches, self.parameters, strict=True)]

    def write(self, vector: Tensor) -> None:
        """Add a (P,) vector to `.grad`, but not zeros where no task of this step has a gradient."""
        reached = {i for _, i in self._written}
        stretches = self.split(vector)
        add_gradients(self.parameters, [s if i in reached else None for i, s in enumerate(stretches)])


def add_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add to `.grad`; the first take the tensor itself.

    Unless it shares memory: autograd gives expanded tensors, and one tensor for several parameters. For the
    same reason nothing is added in place: a gradient at a map may be the tensor of a parameter, too.
    """
    taken: set[int] = set()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        gradient = gradient.to(parameter.dtype)
        if parameter.grad is not None:
            parameter.grad = parameter.grad + gradient
            continue
        layout = zip(gradient.shape, gradient.stride(), strict=True)
        expanded = any(stride == 0 and size > 1 for size, stride in layout)
        parameter.grad = gradient.clone() if expanded or gradient.data_ptr() in taken else gradient
        taken.add(gradient.data_ptr())


def weighted_sum(weights: Sequence[float], tensors: Sequence[Tensor | None]) -> Tensor | None:
    """In float32 and back; None where there is nothing."""
    found = [(w, t) for w, t in zip(weights, tensors, strict=True) if t is not None]
    if not found:
        return None
    total = found[0][1].float() * found[0][0]
    for weight, tensor in found[1:]:
        total.add_(tensor, alpha=weight)
    return total.to(found[0][1].dtype)


def bytes_of(tensors: Sequence[Tensor | None]) -> int:
    return sum(prod(t.shape) * t.element_size() for t in tensors if t is not None)

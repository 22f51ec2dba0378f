"""Carries a balancer out: from task losses to `.grad` of every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, Balancer, Scalarization, Step, Weighting
from mtlbench.graph import reached_parameters
from mtlbench.ranks import mean_over_ranks
from mtlbench.tasks import Tasks


@dataclass(frozen=True)
class Diagnostics:
    """What a balancer did in one step, by task name.

    Attributes:
        weights: of the task gradients, or of the losses; absent where a method has none.
        norms: of the task gradients at the shared parameters; empty where none were computed.
        cosines: pairs of tasks -> cosine of their gradients; empty where none were computed.
    """

    weights: dict[str, float]
    norms: dict[str, float]
    cosines: dict[tuple[str, str], float]


class Engine:
    """Accumulates task losses over micro-batches, then leaves the balanced gradient in `.grad`.

    Args:
        network: the bare module whose parameters are trained.
        tasks: in the order of the balancer's weights.
        fabric: for precision and ranks.
    """

    def __init__(self, balancer: Balancer, network: nn.Module, tasks: Tasks, fabric: Fabric) -> None:
        self.balancer = balancer
        self.names = tuple(tasks)
        self.fabric = fabric
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        own = list(balancer.parameters())
        self.optimizer = torch.optim.Adam(own, lr=balancer.lr, weight_decay=0.0) if own else None
        self._rows: dict[tuple[int, ...], _Rows] = {}
        self._weights: Tensor | None = None
        self._losses: list[Tensor] = []

    def syncs_in_backward(self, step: Step) -> bool:
        """Whether the backward pass averages over ranks; else the forward must run without synchronisation.

        It can't where a task is left out: DDP waits for gradients of all parameters that the forward used.
        """
        return isinstance(self.balancer, Scalarization) and len(step.active) == len(self.names)

    def accumulate(self, losses: Mapping[str, Tensor], step: Step, share: float) -> None:
        """Take in one micro-batch, which makes up `share` of the batch: a scalar loss per active task."""
        active = [losses[name] for name in self.names if name in losses]
        values = mean_over_ranks(self.fabric, torch.stack([loss.detach().float() for loss in active]))
        self._losses.append(values * share)
        if isinstance(self.balancer, Scalarization):
            self._descend_scalar(active, replace(step, losses=values), share)
        else:
            self._rows_of(active, step).add(active, share)

    def finish(self, step: Step) -> Diagnostics:
        """After the last micro-batch: combine, and let the balancer learn and take notes."""
        losses = torch.stack(self._losses).sum(0)
        self._losses = []
        step = replace(step, losses=losses)
        names = [self.names[i] for i in step.active.tolist()]
        gramian = None
        if not isinstance(self.balancer, Scalarization):
            gramian = self._combine_rows(self._rows_of([], step), step)
        elif not self.syncs_in_backward(step):
            self._average_gradients()
        if self.optimizer is not None:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.balancer.observe(step)
        return _diagnose(names, self._weights, gramian)

    def _average_gradients(self) -> None:
        """The mean over ranks, which all have the same active tasks, so gradients of the same parameters."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = mean_over_ranks(self.fabric, parameter.grad)

    def _rows_of(self, losses: list[Tensor], step: Step) -> _Rows:
        """The rows of the tasks that take part; a new set of tasks asks the graph what it shares."""
        key = tuple(step.active.tolist())
        if key not in self._rows:
            self._rows = {key: _Rows(losses, self.parameters)}
        return self._rows[key]

    def _descend_scalar(self, losses: list[Tensor], step: Step, share: float) -> None:
        """Differentiate the scalar at the losses averaged over ranks, then the weighted sum of this rank's
        losses.

        With several ranks that is exact for scalars that are not linear in the losses too.
        """
        assert isinstance(self.balancer, Scalarization)
        values = step.losses.clone().requires_grad_()
        total = self.balancer.total(values, step) * share
        total.backward()
        assert values.grad is not None
        weights = values.grad
        self.fabric.backward(
            sum(w * loss for w, loss in zip(weights.to(losses[0].dtype), losses, strict=True))
        )
        self._weights = weights / share

    def _combine_rows(self, rows: _Rows, step: Step) -> Tensor:
        """Average over ranks before any non-linear step, ask the balancer, write `.grad`; returns the
        Gramian.

        The rows are in the order of `step.active`.
        """
        rows.average(self.fabric)
        gramian = rows.gramian()
        if isinstance(self.balancer, Weighting):
            self._weights = self.balancer.weights(gramian, step)
            combined = self._weights.to(rows.matrix) @ rows.matrix
        else:
            assert isinstance(self.balancer, Aggregation)
            self._weights = None
            combined = self.balancer.combine(rows.matrix, step)
        rows.write(combined)
        return gramian


class _Rows:
    """Task gradients: one row each over the shared parameters, and each task's own parameters aside.

    Which parameters are shared is read from the graph once; the storage of the rows is used again in every
    step.
    """

    def __init__(self, losses: list[Tensor], parameters: list[nn.Parameter]) -> None:
        reached = [reached_parameters(loss) for loss in losses]
        counts = {p: sum(p in found for found in reached) for p in parameters}
        self.shared = [p for p in parameters if counts[p] > 1]
        self.own = [[p for p in parameters if counts[p] == 1 and p in found] for found in reached]
        size = sum(p.numel() for p in self.shared)
        self.matrix = parameters[0].new_zeros(len(losses), size, dtype=torch.float32)
        self._pieces = [self._split(row) for row in self.matrix]
        self._reached = [[p in found for p in self.shared] for found in reached]  # other pieces stay zero
        self._fresh = True

    def add(self, losses: list[Tensor], share: float) -> None:
        """Take in one micro-batch; the first of a step replaces what the last step left."""
        write = torch._foreach_copy_ if self._fresh else torch._foreach_add_
        self._fresh = False
        for i, (loss, own) in enumerate(zip(losses, self.own, strict=True)):
            targets = [p for p, reached in zip(self.shared, self._reached[i], strict=True) if reached]
            pieces = [
                piece for piece, reached in zip(self._pieces[i], self._reached[i], strict=True) if reached
            ]
            keep = i + 1 < len(losses)
            grads = torch.autograd.grad(loss * share, targets + own, retain_graph=keep)
            if pieces:
                write(pieces, list(grads[: len(pieces)]))
            for parameter, grad in zip(own, grads[len(pieces) :], strict=True):
                parameter.grad = grad if parameter.grad is None else parameter.grad.add_(grad)

    def average(self, fabric: Fabric) -> None:
        """The mean over ranks, of rows and of each task's own gradients."""
        if fabric.world_size == 1:
            return
        self.matrix.copy_(mean_over_ranks(fabric, self.matrix))
        for parameter in (p for own in self.own for p in own):
            assert parameter.grad is not None
            parameter.grad = mean_over_ranks(fabric, parameter.grad)

    def gramian(self) -> Tensor:
        """(T, T) float64 on the CPU."""
        return (self.matrix @ self.matrix.T).double().cpu()

    def write(self, combined: Tensor) -> None:
        """Leave the combined gradient (P,) in `.grad`; ends the step."""
        for parameter, piece in zip(self.shared, self._split(combined), strict=True):
            parameter.grad = piece.to(parameter.dtype)
        self._fresh = True

    def _split(self, vector: Tensor) -> list[Tensor]:
        """The stretch of a (P,) vector that belongs to each shared parameter, in its shape."""
        stretches = vector.split([p.numel() for p in self.shared])
        return [stretch.view_as(p) for stretch, p in zip(stretches, self.shared, strict=True)]


def _diagnose(names: list[str], weights: Tensor | None, gramian: Tensor | None) -> Diagnostics:
    named = {} if weights is None else dict(zip(names, weights.detach().tolist(), strict=True))
    if gramian is None:
        return Diagnostics(named, {}, {})
    norms = gramian.diagonal().clamp(min=0).sqrt()
    scaled = gramian / torch.outer(norms, norms).clamp(min=1e-300)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    cosines = {(names[i], names[j]): float(scaled[i, j]) for i, j in pairs}
    return Diagnostics(named, dict(zip(names, norms.tolist(), strict=True)), cosines)

"""Makes balancers of LibMTL's weightings; `libmtl.py` says which."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlbench.balancing import Aggregation, Balancer, Scalarization, Step, Unsolvable
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from ._hosting import Hosted, seeded
from ._options import require_positive
from .libmtl import Known

STATE = ("rho_T",)
"""Tensors that weightings keep beside their parameters."""
MEANS = ("first", "before_last", "last")
"""Mean losses of epochs that weightings look at."""


class Stage(nn.Module):
    """What a weighting, which is mixed in with it, expects of its trainer and architecture."""

    shared: nn.Parameter

    def set_up(self, names: tuple[str, ...], device: torch.device, *, at_representation: bool) -> None:
        self.task_name = list(names)
        self.task_num = len(names)
        self.device = device
        self.rep_grad = at_representation
        self.epoch = 0

    def get_share_params(self) -> list[nn.Parameter]:
        return [self.shared]

    def zero_grad_share_params(self) -> None:
        if self.shared.grad is not None:
            self.shared.grad = torch.zeros_like(self.shared)


class Played(Hosted):
    """Lets a weighting of LibMTL do its work on stand-ins."""

    source: ClassVar[type[Any]]
    title: ClassVar[str]
    known: ClassVar[Known]
    loss_scale: nn.Parameter

    def __init__(self, tasks: Tasks, **given: Any) -> None:
        bound = inspect.signature(type(self)).bind(tasks, **given)
        bound.apply_defaults()
        options = {name: value for name, value in bound.arguments.items() if name not in ("tasks", "lr")}
        super().__init__(tasks)
        self.options = options
        if self.known.tasks not in (0, len(tasks)):
            raise MtlbenchError(
                f"balancer `{self.title}` is written for {self.known.tasks} tasks, got {len(tasks)}"
            )
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        for name in ("sums", "counts"):  # of the running epoch
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        for name in MEANS:  # NaN: not known yet
            self.register_buffer(name, torch.full((len(tasks),), torch.nan, dtype=torch.float64))
        if self.known.learns:
            self.lr = bound.arguments["lr"]
            require_positive(self.title, lr=self.lr)
            start = self.make_object(list(range(len(tasks))), torch.zeros(())).loss_scale
            self.loss_scale = nn.Parameter(start.detach().clone())

    per_task = ("sums", "counts", "loss_scale", *MEANS)

    def make_object(self, active: list[int], like: Tensor) -> Any:
        made = type(self.source.__name__, (self.source, Stage), {})()
        names = tuple(self.task_names[i] for i in active)
        made.set_up(names, like.device, at_representation=self.known.on == "representation")
        made.init_param()
        return made

    def tensors_of(self, made: Any) -> dict[str, Tensor]:
        return {name: vars(made)[name] for name in STATE if name in vars(made)}

    def restore(self, made: Any, tensors: dict[str, Tensor], like: Tensor) -> None:
        for name, value in tensors.items():
            setattr(made, name, value)

    def observe(self, step: Step) -> None:
        active = step.active.to(self.get_buffer("sums").device)
        self.get_buffer("sums")[active] += step.losses.to(self.get_buffer("sums"))
        self.get_buffer("counts")[active] += 1

    def play(self, losses: Tensor, step: Step, **stage: Any) -> Any:
        """Runs the weighting's backward on losses (T,); returns the object it ran on."""
        if step.epoch > int(self.get_buffer("epoch")):
            self._close_epoch(step.epoch)
        made = self.object_for(step, losses)
        for name, value in stage.items():
            setattr(made, name, value)
        active = step.active.to(self.get_buffer("sums").device)
        first, before_last, last = (self.get_buffer(name)[active] for name in MEANS)
        # as if this were epoch 1 or 3, by what is known of the epochs before
        made.epoch = 3 if not (last / before_last).isnan().any() else 0 if first.isnan().any() else 1
        made.train_loss_buffer = torch.stack([first, before_last, last], dim=1).cpu().numpy()
        if self.known.learns:
            made.loss_scale = nn.Parameter(self.loss_scale.detach()[step.active].to(losses.device))
            losses = losses + 0 * made.loss_scale.sum()  # so that it has a gradient, of 0 at the least
        with seeded(step.generator, losses.device):
            made.backward(losses, **self.options)
        return made

    def _close_epoch(self, epoch: int) -> None:
        sums, counts = self.get_buffer("sums"), self.get_buffer("counts")
        first, before_last, last = (self.get_buffer(name) for name in MEANS)
        seen = counts > 0
        mean = sums / counts
        before_last.copy_(torch.where(seen, last, before_last))
        last.copy_(torch.where(seen, mean, last))
        first.copy_(torch.where(seen & first.isnan(), mean, first))
        sums.zero_()
        counts.zero_()
        self.get_buffer("epoch").fill_(epoch)


class OnLosses(Played, Scalarization):
    """The weights are the gradient that LibMTL's own scalar has at the losses."""

    def total(self, losses: Tensor, step: Step) -> Tensor:
        with torch.enable_grad():
            values = losses.detach().clone().requires_grad_()
            made = self.play(values, step)
        assert values.grad is not None
        total = (values.grad * losses).sum()
        if self.known.learns:
            scale = self.loss_scale[step.active]
            total = total + (made.loss_scale.grad * (scale - scale.detach())).sum()
        return total


class OnGradients(Played, Aggregation):
    """Tasks whose gradient is zero are kept from LibMTL, which would divide by its norm."""

    def __init__(self, tasks: Tasks, **given: Any) -> None:
        super().__init__(tasks, **given)
        self._factors: Tensor | None = None

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        kept = rows.any(1)
        self._factors = rows.new_ones(len(rows))
        if not kept.any():
            return torch.zeros_like(rows[0])
        part = Step(
            step.index, step.epoch, step.active[kept.to(step.active.device)], step.losses, step.generator
        )
        if self.known.tasks not in (0, int(kept.sum())):
            raise Unsolvable(
                f"{self.title} is written for {self.known.tasks} tasks, {int(kept.sum())} take part"
            )
        losses = step.losses.to(rows)[kept]
        try:
            with torch.enable_grad():
                update, self._factors[kept] = self._perform(rows[kept], losses, part)
        except (RuntimeError, ValueError) as error:
            raise Unsolvable(f"{self.title}: {error}") from error
        if not update.isfinite().all():
            raise Unsolvable(f"{self.title} finds no finite gradient")
        return update

    def _perform(self, rows: Tensor, losses: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Rows (T, P) and losses (T,) -> the update (P,), and the factors of own parameters (T,)."""
        shared = nn.Parameter(torch.zeros_like(rows[0]))
        own = nn.Parameter(torch.zeros_like(losses))
        made = self.play(losses + rows @ shared + own, step, shared=shared)
        if self.known.learns:
            gradient = torch.zeros_like(self.loss_scale)
            gradient[step.active] = made.loss_scale.grad.to(gradient)
            self.loss_scale.grad = gradient
        assert shared.grad is not None
        assert own.grad is not None
        del made.shared
        return shared.grad, own.grad

    def own_weights(self, step: Step) -> Tensor | None:
        return self._factors


class OnRepresentation(OnGradients):
    """All maps of a sample, one after the other, are one representation; without maps, rows are that."""

    def __init__(self, tasks: Tasks, **given: Any) -> None:
        super().__init__(tasks, **given)
        self.at = "representation"

    def combine(self, rows: Tensor, step: Step) -> Tensor:
        maps = [m.flatten(1) for m in step.features] or [rows.new_ones(1, rows.shape[1])]
        lengths = [m.shape[1] for m in maps]
        parts = [
            p.unflatten(1, m.shape)
            for p, m in zip(rows.split([m.numel() for m in maps], 1), maps, strict=True)
        ]
        gradients = torch.cat(parts, dim=2)
        names = [self.task_names[i] for i in step.active.tolist()]
        with torch.enable_grad():
            rep = torch.cat(maps, dim=1).to(rows).requires_grad_()
            copies = {name: rep.detach().clone().requires_grad_() for name in names}
            own = nn.Parameter(torch.zeros_like(step.losses.to(rows)))
            products = [(copies[n] * g).sum() for n, g in zip(names, gradients, strict=True)]
            losses = step.losses.to(rows) + own + torch.stack([p - p.detach() for p in products])
            made = self.play(losses, step, rep=rep, rep_tasks=copies)
        assert rep.grad is not None
        assert own.grad is not None
        self._factors = own.grad
        del made.rep, made.rep_tasks
        return torch.cat([part.flatten() for part in rep.grad.split(lengths, dim=1)])


KINDS: dict[str, type[Played]] = {
    "losses": OnLosses,
    "gradients": OnGradients,
    "representation": OnRepresentation,
}


def make_balancer(name: str, folder: Path, known: Known) -> type[Balancer]:
    """The balancer for the weighting `name` of the LibMTL in `folder`."""
    source = getattr(_weightings(folder), name)
    kind = KINDS[known.on]
    options = {**known.options, **({"lr": (float, 1e-4)} if known.learns else {})}
    parameters = [inspect.Parameter("tasks", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Tasks)]
    for option, (annotation, default) in options.items():
        parameters.append(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    members = {
        "source": source,
        "title": f"libmtl:{name}",
        "known": known,
        "__doc__": inspect.getdoc(source),
    }
    made = type(name, (kind,), members)
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return made


def _weightings(folder: Path) -> ModuleType:
    """The package `LibMTL.weighting`.

    LibMTL as a whole can't be imported beside a current torchvision, of which it wants a module that is gone;
    so an empty module stands for it while its weightings, which need nothing of it, are imported.
    """
    if "LibMTL.weighting" in sys.modules or "LibMTL" in sys.modules:
        return importlib.import_module("LibMTL.weighting")
    empty = ModuleType("LibMTL")
    empty.__path__ = [str(folder)]
    sys.modules["LibMTL"] = empty
    try:
        return importlib.import_module("LibMTL.weighting")
    finally:
        del sys.modules["LibMTL"]

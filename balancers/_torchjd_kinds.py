"""Makes balancers of TorchJD's classes; `torchjd.py` says which."""

import importlib
import inspect
import types
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mtlbench.balancing import Aggregation, CrossWeighting, Scalarization, Step, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Tasks

from ._hosting import Hosted, seeded
from ._options import require_positive

CROSS = {"MoDoWeighting", "SDMGradWeighting"}
"""What TorchJD wants the products of two batches' gradients for; its types don't say so."""
COUNTING = {"Constant", "Mean", "Random", "Sum"}
"""Weights for rows of which only the number matters, so that the Gramian serves."""
COUNTS = {"shape", "n_tasks"}
"""Arguments that are the number of tasks."""
PLAIN = (float, int, bool, str, type(None))


class Adapted(Hosted):
    """Calls an object of TorchJD."""

    source: ClassVar[type[nn.Module]]
    title: ClassVar[str]

    def __init__(self, tasks: Tasks, **given: Any) -> None:
        bound = inspect.signature(type(self)).bind(tasks, **given)
        bound.apply_defaults()
        options = dict(bound.arguments)
        options.pop("tasks")
        common = {name: options.pop(name) for name in ("at", "every") if name in options}
        super().__init__(tasks, **common)
        if "lr" not in inspect.signature(self.source).parameters:
            self.lr = options.pop("lr", 0.0)
        self.options = options
        for name, value in options.items():
            if isinstance(value, list) and len(value) != len(tasks):
                raise MtlbenchError(
                    f"`{name}` of balancer `{self.title}` must have {len(tasks)} values, got {len(value)}"
                )
        try:
            self.make_object(list(range(len(tasks))), torch.zeros(()))
        except (ImportError, ValueError, TypeError) as error:
            raise MtlbenchError(f"balancer `{self.title}`: {error}") from error

    def make_object(self, active: list[int], like: Tensor) -> nn.Module:
        given: dict[str, Any] = {}
        for name in inspect.signature(self.source).parameters:
            if name in COUNTS:
                given[name] = len(active)
            elif isinstance(value := self.options.get(name), list):
                given[name] = like.new_tensor([value[i] for i in active])
            elif name in self.options:
                given[name] = value
        return self.source(**given)

    def tensors_of(self, made: nn.Module) -> dict[str, Tensor]:
        """Buffers, and counters that are plain numbers, of what can be reset."""
        found: dict[str, Tensor] = {}
        if not hasattr(made, "reset"):
            return found
        for path, module in made.named_modules():
            counters = {n: v for n, v in vars(module).items() if n.startswith("_") and type(v) is int}
            found |= {f"{path}.{name}": torch.tensor(value) for name, value in counters.items()}
            found |= {f"{path}.{n}": b for n, b in module.named_buffers(recurse=False) if b is not None}
        return found

    def restore(self, made: nn.Module, tensors: dict[str, Tensor], like: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            made(torch.zeros_like(like))  # it notes what it was called with, and would start anew otherwise
        for full_name, value in tensors.items():
            path, _, name = full_name.rpartition(".")
            module = made.get_submodule(path)
            setattr(module, name, value if name in module._buffers else int(value))

    def ask(self, value: Tensor, step: Step) -> Tensor:
        """What the object makes of `value`."""
        made = self.object_for(step, value)
        try:
            with seeded(step.generator, value.device):
                answer = made(value)
        except (ValueError, RuntimeError, ArithmeticError) as error:
            raise Unsolvable(f"{self.title}: {error}") from error
        assert isinstance(answer, Tensor)
        return answer


class OnGramian(Adapted, Weighting):
    def make_object(self, active: list[int], like: Tensor) -> nn.Module:
        made = super().make_object(active, like)
        inner = getattr(made, "gramian_weighting", None) or getattr(made, "weighting", None)
        return inner if isinstance(inner, nn.Module) and _is_aggregator(self.source) else made

    def weights(self, gramian: Tensor, step: Step) -> Tensor:
        return self.ask(gramian, step).detach().double()


class OnBatches(Adapted, CrossWeighting):
    def weights(self, cross: Tensor, step: Step) -> Tensor:
        return self.ask(cross, step).detach().double()


class OnRows(Adapted, Aggregation):
    def combine(self, rows: Tensor, step: Step) -> Tensor:
        answer = self.ask(rows, step).detach()
        return answer if _is_aggregator(self.source) else answer @ rows


class OnLosses(Adapted, Scalarization):
    """A scalarizer's parameters are kept for all tasks; each step takes those of its tasks."""

    def __init__(self, tasks: Tasks, **given: Any) -> None:
        super().__init__(tasks, **given)
        whole = self.make_object(list(range(len(tasks))), torch.zeros(()))
        self.learned = [name for name, _ in whole.named_parameters()]
        for name, parameter in whole.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach().clone()))
        self.per_task = tuple(self.learned)  # type: ignore[misc]
        if self.learned:
            require_positive(self.title, lr=self.lr)

    def tensors_of(self, made: nn.Module) -> dict[str, Tensor]:
        return {}

    def total(self, losses: Tensor, step: Step) -> Tensor:
        scalarizer = self.object_for(step, losses)
        mine = {name: self.get_parameter(name)[step.active] for name in self.learned}
        with seeded(step.generator, losses.device):
            total = functional_call(scalarizer, mine, (losses,))
        assert isinstance(total, Tensor)
        return total


def make_balancer(module: str, name: str, title: str) -> type[Adapted]:
    """The balancer called `title`, for the class `name` of `torchjd.<module>`.

    Raises:
        MtlbenchError: the class needs what a grid file can't hold.
    """
    source = getattr(importlib.import_module(f"torchjd.{module}"), name)
    kind = _kind(source, module)
    parameters = [inspect.Parameter("tasks", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Tasks)]
    own = _options(source, title)
    for option, (annotation, default) in {**own, **_common(kind, source)}.items():
        parameters.append(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    made = type(name, (kind,), {"source": source, "title": title, "__doc__": inspect.getdoc(source)})
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return made


def _is_aggregator(source: type) -> bool:
    from torchjd.aggregation import Aggregator

    return issubclass(source, Aggregator)


def _kind(source: type, module: str) -> type[Adapted]:
    from torchjd.aggregation import GramianWeightedAggregator
    from torchjd.linalg import PSDMatrix

    if module == "scalarization":
        return OnLosses
    if source.__name__ in CROSS:
        return OnBatches
    counts = source.__name__.removesuffix("Weighting") in COUNTING
    on_gramian = PSDMatrix in get_type_hints(source.forward).values()  # type: ignore[attr-defined]
    return OnGramian if counts or on_gramian or issubclass(source, GramianWeightedAggregator) else OnRows


def _common(kind: type[Adapted], source: type) -> dict[str, tuple[Any, Any]]:
    """Options that the kind brings: where and how often, and the pace of what is learned."""
    found: dict[str, tuple[Any, Any]] = {}
    if issubclass(kind, Weighting):
        parent = inspect.signature(Weighting.__init__, eval_str=True).parameters
        found = {name: (parent[name].annotation, parent[name].default) for name in ("at", "every")}
    if issubclass(kind, OnLosses) and "shape" in inspect.signature(source).parameters:
        found["lr"] = (float, 0.025)
    return found


def _options(source: type, title: str) -> dict[str, tuple[Any, Any]]:
    """Arguments of the constructor that a grid file can hold: annotation and default."""
    hints = get_type_hints(source.__init__)  # type: ignore[misc]
    found = {}
    for name, parameter in inspect.signature(source).parameters.items():
        if name in COUNTS:
            continue
        annotation = _writable(hints.get(name, parameter.annotation))
        if annotation is not None:
            found[name] = (annotation, parameter.default)
        elif parameter.default is inspect.Parameter.empty:
            raise MtlbenchError(
                f"balancer `{title}` is not offered: its `{name}` can't be given in a grid file"
            )
    return found


def _writable(hint: Any) -> Any:
    """The type of an option for an argument of type `hint`; None: there is none.

    Tensors become lists, with a value per task; of an argument that may be a tensor or a number, the number.
    """
    if hint in PLAIN or get_origin(hint) is Literal:
        return hint
    if hint is Tensor:
        return list[float]
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_writable(part) for part in get_args(hint)]
        if any(part is None for part in parts):
            return None
        if any(part in (float, int, str) for part in parts):
            parts = [part for part in parts if part != list[float]]
        return Union[tuple(parts)]  # noqa: UP007
    return None

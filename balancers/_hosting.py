"""What the balancers of other libraries have in common: chance, and state for sets of tasks.

These libraries know a fixed set of tasks, while some tasks may be left out of a step here. Each set of tasks
that takes part together gets an object of the library of its own, with state of its own.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mtlbench.balancing import Balancer, Step

PAIR = " > "


@contextmanager
def seeded(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """The global generators of Python and torch draw from `generator`'s numbers, and are put back after."""
    seed = int(torch.randint(2**62, (), generator=generator))
    state = random.getstate()
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        random.seed(seed)
        torch.random.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(state)


class Hosted(Balancer):
    """Keeps one object of the library for each set of tasks; its state goes by the names of the tasks."""

    def __init__(self, *args: Any, **common: Any) -> None:
        super().__init__(*args, **common)
        self._objects: dict[tuple[str, ...], Any] = {}
        self._saved: dict[str, dict[str, Any]] = {}

    def make_object(self, active: list[int], like: Tensor) -> Any:
        """A new object for some tasks, on the device and of the type of `like`."""
        raise NotImplementedError

    def tensors_of(self, made: Any) -> dict[str, Tensor]:
        """The state of an object."""
        return {}

    def restore(self, made: Any, tensors: dict[str, Tensor], like: Tensor) -> None:
        """Give a new object its state back; `like` is what it will be called with."""

    def object_for(self, step: Step, like: Tensor) -> Any:
        active = step.active.tolist()
        names = tuple(self.task_names[i] for i in active)
        if names not in self._objects:
            made = self.make_object(active, like)
            saved = self._saved.pop("+".join(sorted(names)), {})
            if saved:
                tensors = {name: _joined(value, names).to(like.device) for name, value in saved.items()}
                self.restore(made, tensors, like)
            self._objects[names] = made
        return self._objects[names]

    def state_by_task(self) -> dict[str, Any]:
        state = super().state_by_task()
        for names, made in self._objects.items():
            for name, tensor in self.tensors_of(made).items():
                state[f"{'+'.join(sorted(names))}/{name}"] = _by_task(tensor, names)
        for key, saved in self._saved.items():
            state |= {f"{key}/{name}": value for name, value in saved.items()}
        return state

    def load_state_by_task(self, state: dict[str, Any]) -> None:
        own = {name: value for name, value in state.items() if "/" not in name}
        self._objects.clear()
        self._saved.clear()
        super().load_state_by_task(own)
        for full_name in state.keys() - own.keys():
            key, _, name = full_name.partition("/")
            if set(key.split("+")) <= set(self.task_names):
                self._saved.setdefault(key, {})[name] = state[full_name]


def _by_task(tensor: Tensor, names: tuple[str, ...]) -> Tensor | dict[str, Tensor]:
    """Rows by task, a matrix over the tasks by pairs of tasks, anything else as it is."""
    if tensor.shape == (len(names), len(names)):
        return {
            f"{a}{PAIR}{b}": tensor[i, j].clone() for i, a in enumerate(names) for j, b in enumerate(names)
        }
    if tensor.ndim and len(tensor) == len(names):
        return dict(zip(names, tensor.clone().unbind(0), strict=True))
    return tensor.clone()


def _joined(value: Tensor | Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """The reverse, for the same tasks in another order."""
    if isinstance(value, Tensor):
        return value.clone()
    if any(PAIR in name for name in value):
        return torch.stack([torch.stack([value[f"{a}{PAIR}{b}"] for b in names]) for a in names])
    return torch.stack([value[name] for name in names])

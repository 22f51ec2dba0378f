"""What every method must do, whoever wrote it.

Each check takes a `Method` class and its options. A class may say of itself, by attributes or properties:

* `dead_parameters`: prefixes of parameters that reach no output, as in some published code;
* `mixes_samples`: True if a prediction depends on the batch's other samples even in evaluation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench import tasks as t
from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.tasks import Tasks

EVEN, ODD = (64, 96), (53, 71)
TOLERANCE = 1e-4
"""Of outputs that must be the same, relative to their largest value: the order of additions may differ."""

MethodClass = Callable[..., Method]


class TinyBackbone(Backbone):
    """Four maps at strides 4 to 32 from one convolution each: tests of heads take milliseconds."""

    def __init__(self, channels: tuple[int, ...] = (8, 16, 24, 32)) -> None:
        super().__init__()
        self.channels = list(channels)
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, padding=1) for c in channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps (B, C_i, ceil(H / s), ceil(W / s))."""
        pooled = [F.avg_pool2d(images, s, ceil_mode=True) for s in self.strides]
        return [conv(x).tanh() for conv, x in zip(self.convs, pooled, strict=True)]


def tiny_tasks() -> dict[str, t.Task]:
    """Four tasks with 5, 1, 3 and 1 channels."""
    return {
        "semseg": t.semseg([f"class{i}" for i in range(5)]),
        "depth": t.depth(),
        "normals": t.normals(),
        "edge": t.edge(),
    }


def check_method(method: MethodClass, **options: Any) -> None:
    """All checks, one after the other."""
    for check in METHOD_CHECKS:
        check(method, **options)


def check_output_shapes(method: MethodClass, **options: Any) -> None:
    """Training mode, even and odd image sizes, all tasks and each alone: logits at image size, finite."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options)
        for size in (EVEN, ODD):
            _assert_shapes(network(_images(2, size)), tasks, batch=2, size=size)


def check_single_sample(method: MethodClass, **options: Any) -> None:
    """Evaluation of one image, as at validation, on even and odd sizes."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options).eval()
        for size in (EVEN, ODD):
            _assert_shapes(_predict(network, _images(1, size)), tasks, batch=1, size=size)


def check_gradients(method: MethodClass, **options: Any) -> None:
    """All parameters get a finite gradient from the sum of all outputs, but those called dead get none."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options)
        outputs = network(_images(2, EVEN))
        every = [outputs.final, *outputs.auxiliary.values()]
        loss = sum((value.square().mean() for values in every for value in values.values()), torch.zeros(()))
        if loss.requires_grad:
            loss.backward()
        dead = tuple(getattr(network, "dead_parameters", ()))
        for name, parameter in network.named_parameters():
            reached = parameter.grad is not None
            assert reached != name.startswith(dead or ("//",)), (
                f"{name}: gradient {'found' if reached else 'missing'}"
            )
            assert parameter.grad is None or parameter.grad.isfinite().all(), f"{name}: gradient not finite"


def check_determinism(method: MethodClass, **options: Any) -> None:
    """In evaluation the same images give the same predictions."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options).eval()
        images = _images(2, EVEN)
        _assert_close(_predict(network, images), _predict(network, images), tolerance=0.0)


def check_batch_independence(method: MethodClass, **options: Any) -> None:
    """In evaluation a prediction is the same alone and in a batch, unless the class says it mixes samples."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options).eval()
        images = _images(3, ODD)
        together = _predict(network, images)
        if getattr(network, "mixes_samples", False):
            continue
        for i in range(len(images)):
            alone = _predict(network, images[i : i + 1])
            _assert_close(alone, Outputs({name: value[i : i + 1] for name, value in together.final.items()}))


def check_state_dict(method: MethodClass, **options: Any) -> None:
    """Saved and loaded into a new network, the parameters give the same predictions."""
    for tasks in _task_sets(method):
        first, second = (_build(method, tasks, seed=seed, **options).eval() for seed in (0, 1))
        second.load_state_dict(first.state_dict())
        images = _images(2, EVEN)
        _assert_close(_predict(first, images), _predict(second, images), tolerance=0.0)


METHOD_CHECKS = (
    check_output_shapes,
    check_single_sample,
    check_gradients,
    check_determinism,
    check_batch_independence,
    check_state_dict,
)


def _task_sets(method: MethodClass) -> list[dict[str, t.Task]]:
    """All tasks together (not for one-task methods) and one alone."""
    tasks = tiny_tasks()
    alone = {"normals": tasks["normals"]}
    return [alone] if getattr(method, "one_task", False) else [tasks, alone]


def _build(method: MethodClass, tasks: Tasks, *, seed: int = 0, **options: Any) -> Method:
    """A network with every parameter moved off its initial value: zeros would hide what depends on what."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = TinyBackbone() if getattr(method, "needs_backbone", True) else None
        network = method(backbone, tasks, **options)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def _images(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def _predict(network: Method, images: Tensor) -> Outputs:
    return network(images)


def _assert_shapes(outputs: Outputs, tasks: Tasks, *, batch: int, size: tuple[int, int]) -> None:
    assert list(outputs.final) == list(tasks), f"outputs for {list(outputs.final)}, tasks {list(tasks)}"
    for name, value in outputs.final.items():
        expected = (batch, tasks[name].channels, *size)
        assert tuple(value.shape) == expected, f"{name}: {tuple(value.shape)}, not {expected}"
        assert value.isfinite().all(), f"{name}: not finite"
    for endpoint, values in outputs.auxiliary.items():
        for name, value in values.items():
            found = tuple(value.shape[:2])
            assert found == (batch, tasks[name].channels), f"auxiliary {endpoint}.{name}: {found}"


def _assert_close(found: Outputs, expected: Outputs, *, tolerance: float = TOLERANCE) -> None:
    for name, value in expected.final.items():
        difference = (found.final[name] - value).abs().max().item()
        allowed = tolerance * max(1e-6, value.abs().max().item())
        assert difference <= allowed, f"{name}: predictions differ by {difference:.2g}, allowed {allowed:.2g}"

"""What every method must do, whoever wrote it.

Each check takes a `Method` class and its options. What a network says of itself by `dead_parameters` and
`mixes_samples` (`mtlbench.model`) is believed, and the former checked.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench import tasks as t
from mtlbench.backbones.base import Backbone
from mtlbench.backbones.staged import Staged, unpaused
from mtlbench.engine.reach import owners_of
from mtlbench.errors import MtlbenchError
from mtlbench.forward import predictions
from mtlbench.graph import reached_leaves
from mtlbench.model import Method, Outputs
from mtlbench.portable import Weights, take_over
from mtlbench.profiling.timing import random_labels
from mtlbench.resizing import resize
from mtlbench.seeding import seed_torch
from mtlbench.tasks import Tasks

EVEN, ODD = (64, 96), (53, 71)
ATTEMPTS = 4
TOLERANCE = 1e-4
"""Of outputs that must be the same, relative to their largest value: the order of additions may differ."""

MethodClass = Callable[..., Method]


class TinyBackbone(Backbone):
    """Four maps, at strides 4 to 32, from one convolution each: tests of heads take milliseconds."""

    def __init__(
        self, channels: tuple[int, ...] = (8, 16, 24, 32), *, strides: tuple[int, ...] = (4, 8, 16, 32)
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.strides = strides  # type: ignore[misc]  # of this one
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, padding=1) for c in channels)

    @property
    def stage_channels(self) -> list[list[int]]:
        return [[3], *([c] for c in self.channels)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps (B, C_i, ceil(H / s), ceil(W / s))."""
        return unpaused(self.staged(images))

    def staged(self, images: Tensor) -> Staged:
        """Each map is made of the image, not of the map before."""
        (images,) = yield [images]
        maps = []
        for conv, stride in zip(self.convs, self.strides, strict=True):
            (x,) = yield [conv(F.avg_pool2d(images, stride, ceil_mode=True)).tanh()]
            maps.append(x)
        return maps


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


def check_single_sample_in_training(method: MethodClass, **options: Any) -> None:
    """A training step on one image, as on a small GPU: loss and gradients are finite."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options)
        _train(network, tasks, _images(1, ODD))


def check_auxiliary_losses(method: MethodClass, **options: Any) -> None:
    """Every auxiliary prediction has a finite loss, also where no pixel has a label."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options)
        outputs, size = network(_images(2, EVEN)), (2, *EVEN)
        for endpoint, values in outputs.auxiliary.items():
            for name, value in values.items():
                for labels in (_labels(tasks[name], size), _labels(tasks[name], size, empty=True)):
                    loss = network.auxiliary_loss(endpoint, name)(resize(value, EVEN), labels)
                    assert loss.shape == (), f"{endpoint}.{name}: loss of shape {tuple(loss.shape)}"
                    assert loss.isfinite(), f"{endpoint}.{name}: loss {loss.item()}"


def check_other_strides(method: MethodClass, **options: Any) -> None:
    """Features of a dilated network (4, 8, 8, 8) and of a plain ViT (all 16) work or are refused."""
    for strides in ((4, 8, 8, 8), (16, 16, 16, 16)):
        for tasks in _task_sets(method):
            backbone = TinyBackbone(strides=strides)
            try:
                network = _build(method, tasks, backbone=backbone, **options)
            except MtlbenchError:
                continue
            _train(network, tasks, _images(2, ODD))


def check_gradients(method: MethodClass, **options: Any) -> None:
    """All parameters get a finite gradient from the sum of all outputs, but those called dead get none."""
    for tasks in _task_sets(method):
        network = _build(method, tasks, **options)
        outputs = network(_images(2, EVEN))
        every = [outputs.final, *outputs.auxiliary.values()]
        loss = sum((value.square().mean() for values in every for value in values.values()), torch.zeros(()))
        if loss.requires_grad:
            loss.backward()
        dead = tuple(network.dead_parameters)
        for name, parameter in network.named_parameters():
            reached = parameter.grad is not None
            assert reached != name.startswith(dead or ("//",)), (
                f"{name}: gradient {'found' if reached else 'missing'}"
            )
            assert parameter.grad is None or parameter.grad.isfinite().all(), f"{name}: gradient not finite"


def check_reach(method: MethodClass, **options: Any) -> None:
    """What the graph says that a task's predictions depend on gets a gradient from them that isn't zero.

    Else one task's own parameters look shared, and balancers weigh them as such. Weights of several tasks
    that are put together for one operation do that; `Method.own_parameters` then says whose they are.
    """
    tasks = tiny_tasks()
    if getattr(method, "one_task", False):
        return
    network = _build(method, tasks, **options)
    owners = owners_of(network, list(tasks))
    position = {task: i for i, task in enumerate(tasks)}
    wrong: set[tuple[str, Tensor]] | None = None
    for _ in range(ATTEMPTS):  # a random depth or dropout may hide a gradient
        found = {
            (task, p)
            for task, p in _without_gradient(network, tasks)
            if owners.get(p, position[task]) == position[task]
        }
        wrong = found if wrong is None else wrong & found
        if not wrong:
            return
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    lines = sorted(
        f"{names[parameter]}: in the graph of {task}, but without a gradient"
        for task, parameter in wrong or ()
    )
    raise AssertionError("\n".join(lines))


def _without_gradient(network: Method, tasks: Tasks) -> set[tuple[str, Tensor]]:
    """Parameters that are in the graph of a task's predictions, but whose gradient is zero."""
    outputs, known = network(_images(2, EVEN)), set(network.parameters())
    found = set()
    for task in tasks:
        roots = predictions(outputs, task)
        reached = [p for p in reached_leaves(roots) if p in known]
        loss = torch.stack([root.square().mean() for root in roots]).sum()
        gradients = torch.autograd.grad(loss, reached, retain_graph=True) if reached else []
        found |= {(task, p) for p, gradient in zip(reached, gradients, strict=True) if not gradient.any()}
    return found


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
        if network.mixes_samples:
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


def check_task_order(method: MethodClass, **options: Any) -> None:
    """A network that starts from one whose tasks come in another order predicts the same.

    Else a network to which a task is added would have weights of one task for another's: entries of the
    state dict are to be named by task, or to be in `Method.task_blocks`.
    """
    if getattr(method, "one_task", False):
        return
    tasks = tiny_tasks()
    first = _trained(method, tasks, seed=0, **options)
    order = [list(tasks)[i] for i in (2, 0, 3, 1)]
    second = _trained(method, {task: tasks[task] for task in order}, seed=1, **options)
    new = take_over(second, Weights.of(first)).new
    assert not new, f"other entries for the same tasks in another order: {new}"
    images = _images(2, EVEN)
    found, expected = _predict(second, images), _predict(first, images)
    for task in tasks:
        try:
            _assert_close(Outputs({task: found.final[task]}), Outputs({task: expected.final[task]}))
        except AssertionError as error:
            raise AssertionError(f"weights that depend on the order of tasks: {error}") from None


def check_added_tasks(method: MethodClass, **options: Any) -> None:
    """A network that starts from one with fewer tasks predicts the same for those that no new weight reaches.

    All others may change. The weights under names of the old tasks are those of the old network.
    """
    if getattr(method, "one_task", False):
        return
    tasks = tiny_tasks()
    old = {task: tasks[task] for task in ("depth", "edge")}
    first = _trained(method, old, seed=0, **options)
    second = _trained(method, tasks, seed=1, **options)
    taken = take_over(second, Weights.of(first))
    assert taken.count, "nothing was taken over"
    images = _images(2, EVEN)
    outputs, named = second(images), dict(second.named_parameters())
    expected = _predict(first, images)
    for task in old:
        reached = reached_leaves(predictions(outputs, task))
        if not any(named[name] in reached for name in taken.changing & named.keys()):
            _assert_close(Outputs({task: outputs.final[task]}), Outputs({task: expected.final[task]}))


def _trained(method: MethodClass, tasks: Tasks, *, seed: int, **options: Any) -> Method:
    """In evaluation mode, with statistics off their initial values, too."""
    network = _build(method, tasks, seed=seed, **options).eval()
    generator = torch.Generator().manual_seed(seed)
    statistics = [b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))]
    for value in statistics:
        value.add_(torch.rand(value.shape, generator=generator))
    return network


METHOD_CHECKS = (
    check_output_shapes,
    check_single_sample,
    check_single_sample_in_training,
    check_auxiliary_losses,
    check_other_strides,
    check_gradients,
    check_reach,
    check_determinism,
    check_batch_independence,
    check_state_dict,
    check_task_order,
    check_added_tasks,
)


def _task_sets(method: MethodClass) -> list[dict[str, t.Task]]:
    """All tasks together (not for one-task methods) and one alone."""
    tasks = tiny_tasks()
    alone = {"normals": tasks["normals"]}
    return [alone] if getattr(method, "one_task", False) else [tasks, alone]


def _build(
    method: MethodClass, tasks: Tasks, *, seed: int = 0, backbone: Backbone | None = None, **options: Any
) -> Method:
    """A network with every parameter moved off its initial value: zeros would hide what depends on what."""
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        needed = getattr(method, "needs_backbone", True)
        network = method((backbone or TinyBackbone()) if needed else None, tasks, **options)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def _images(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(7))


def _labels(task: t.Task, size: tuple[int, int, int], *, empty: bool = False) -> Tensor:
    """Labels (B, H, W) or (B, C, H, W) that a task can have, or none at all."""
    images, height, width = size
    with torch.random.fork_rng(devices=[]):
        seed_torch(3)
        labels = random_labels(task, (height, width), images)
    return torch.full_like(labels, task.fill) if empty else labels


def _train(network: Method, tasks: Tasks, images: Tensor) -> None:
    """Forward and backward with all losses; what comes out must be finite."""
    outputs, size = network(images), (len(images), *images.shape[-2:])
    labels = {name: _labels(task, size) for name, task in tasks.items()}
    losses = [tasks[name].loss(value, labels[name]) for name, value in outputs.final.items()]
    for endpoint, values in outputs.auxiliary.items():
        for name, value in values.items():
            loss = network.auxiliary_loss(endpoint, name)
            losses.append(loss(resize(value, images.shape[-2:]), labels[name]))
    total = torch.stack(losses).sum()
    assert total.isfinite(), f"losses {[loss.item() for loss in losses]}"
    if total.requires_grad:
        total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), f"{name}: gradient not finite"


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
            found = (value.ndim, len(value))
            assert found == (4, batch), f"auxiliary {endpoint}.{name}: {tuple(value.shape)}"


def _assert_close(found: Outputs, expected: Outputs, *, tolerance: float = TOLERANCE) -> None:
    for name, value in expected.final.items():
        difference = (found.final[name] - value).abs().max().item()
        allowed = tolerance * max(1e-6, value.abs().max().item())
        assert difference <= allowed, f"{name}: predictions differ by {difference:.2g}, allowed {allowed:.2g}"

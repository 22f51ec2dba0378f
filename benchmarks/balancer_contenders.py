"""Networks and training steps for `benchmarks/balancers.py`."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench import tasks as t
from mtlbench.balancing import Step
from mtlbench.engine import make_engine
from mtlbench.registry import registry

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HEIGHT, WIDTH, IMAGES = 96, 128, 4


@dataclass
class Workload:
    """A network, a batch, and an optimizer; `network.backbone` is what the tasks share at least."""

    network: Any
    losses: Callable[[], dict[str, Tensor]]
    tasks: dict[str, t.Task]
    images: Tensor
    labels: dict[str, Tensor]
    separate: bool = True
    features: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network.to(DEVICE).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-6)
        self.shared = list(self.network.backbone.parameters())


@dataclass(frozen=True)
class Contender:
    """One way to take a step; `rhythm` steps belong together."""

    name: str
    step: Callable[[int], None]
    rhythm: int = 1


class Trunk(nn.Module):
    """ResNet-18 without its classifier; one map at 1/32."""

    def __init__(self) -> None:
        from torchvision.models import resnet18

        super().__init__()
        self.body = nn.Sequential(*list(resnet18().children())[:-2])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.body(x)]


class ResNetHeads(nn.Module):
    """The network that other libraries were measured on: a ResNet-18 trunk and four dense heads."""

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.backbone = Trunk()
        self.heads = nn.ModuleDict({name: self._head(c) for name, c in channels.items()})

    @staticmethod
    def _head(channels: int) -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(512, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
            *(nn.Conv2d(128, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
            nn.Conv2d(64, channels, 1),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        (z,) = self.backbone(x)
        return {
            name: F.interpolate(head(z), (HEIGHT, WIDTH), mode="bilinear")
            for name, head in self.heads.items()
        }


def dense_tasks() -> dict[str, t.Task]:
    found = (t.semseg(tuple(f"class {i}" for i in range(40))), t.depth(), t.normals(), t.edge())
    return {task.name: task for task in found}


def labels_of(tasks: dict[str, t.Task]) -> dict[str, Tensor]:
    shape = (IMAGES, 1, HEIGHT, WIDTH)
    found = {
        "semseg": torch.randint(40, (IMAGES, HEIGHT, WIDTH)),
        "depth": torch.rand(shape) + 0.5,
        "normals": F.normalize(torch.randn(IMAGES, 3, HEIGHT, WIDTH)),
        "edge": torch.rand(shape).round()[:, 0],
    }
    return {name: found[name].to(DEVICE) for name in tasks}


def resnet18() -> Workload:
    torch.manual_seed(0)
    tasks = dense_tasks()
    network = ResNetHeads({name: task.channels for name, task in tasks.items()})
    images, labels = torch.randn(IMAGES, 3, HEIGHT, WIDTH, device=DEVICE), labels_of(tasks)

    def losses() -> dict[str, Tensor]:
        return {name: tasks[name].loss(out, labels[name]) for name, out in network(images).items()}

    return Workload(network, losses, tasks, images, labels)


def degmix() -> Workload:
    torch.manual_seed(0)
    tasks = dense_tasks()
    network = registry.load("method", "degmix")(registry.load("backbone", "swin-t")(), tasks)
    images, labels = torch.randn(IMAGES, 3, HEIGHT, WIDTH, device=DEVICE), labels_of(tasks)

    def losses() -> dict[str, Tensor]:
        outputs = network(images)
        endpoints = [outputs.final, *outputs.auxiliary.values()]
        return {
            name: sum((task.loss(e[name], labels[name]) for e in endpoints if name in e), torch.zeros(()))
            for name, task in tasks.items()
        }

    return Workload(network, losses, tasks, images, labels, separate=False)


NETWORKS: dict[str, Callable[[], Workload]] = {"resnet18": resnet18, "degmix": degmix}


def contenders(workload: Workload) -> Iterator[Contender]:
    yield from ours(workload)
    yield from torchjd(workload)
    if workload.separate:  # LibMTL takes one map, and tasks that share nothing beyond it
        yield from libmtl(workload)


OURS: dict[str, dict[str, Any]] = {
    **{
        name: {}
        for name in ("equal", "fixed", "uncertainty", "imtl_l", "log", "gls", "rlw", "dwa", "stch", "famo")
    },
    **{
        name: {"at": "parameters"}
        for name in ("pcgrad", "gradvac", "cagrad", "imtl_g", "imtl", "mgda", "nash_mtl", "fairgrad")
        + ("aligned_mtl", "upgrad", "dualproj", "config", "gradnorm")
    },
    **{name: {} for name in ("db_mtl", "moco", "excess_mtl", "modo", "sdmgrad")},
}
ELSEWHERE = [
    *((name, {"at": "representation"}) for name in ("pcgrad", "cagrad", "imtl", "mgda", "nash_mtl")),
    ("graddrop", {}),
    ("gradnorm", {"at": "last_layer"}),
    ("pcgrad", {"every": 10}),
    ("nash_mtl", {"every": 10}),
]


def ours(workload: Workload) -> Iterator[Contender]:
    for name, options in [*OURS.items(), *ELSEWHERE]:
        words = " ".join(f"{key} {value}" for key, value in options.items())
        yield Contender(
            f"ours {name} {words}".strip(), our_step(workload, name, options), options.get("every", 1)
        )


def our_step(workload: Workload, name: str, options: dict[str, Any]) -> Callable[[int], None]:
    kept: list[Any] = []
    fabric = Fabric(accelerator=DEVICE.type, devices=1)

    def step(index: int) -> None:
        if not kept:
            balancer = registry.load("balancer", name)(workload.tasks, **options)
            kept.append(make_engine(balancer, workload.network, workload.tasks, fabric))
        engine = kept[0]
        count = len(workload.tasks)
        where = Step(index, 0, torch.arange(count), torch.zeros(count), torch.Generator().manual_seed(index))
        engine.begin(where)
        for batch in range(engine.batches):
            losses = workload.losses()
            engine.survey({task: [loss] for task, loss in losses.items()})
            engine.accumulate(losses, where, 1.0, batch)
        engine.finish(where)
        finish(workload)
        if engine.balancer.sees_change:
            with torch.no_grad():
                after = torch.stack(list(workload.losses().values()))
            engine.observe_change(where, after)

    return step


def finish(workload: Workload) -> None:
    workload.optimizer.step()
    workload.optimizer.zero_grad()


def torchjd(workload: Workload) -> Iterator[Contender]:
    if importlib.util.find_spec("torchjd") is None:
        return
    from torchjd import aggregation as a
    from torchjd import scalarization as s

    yield Contender("TorchJD Sum", scalarized(workload, s.Sum()))
    yield Contender("TorchJD UW", scalarized(workload, s.UW(len(workload.tasks)).to(DEVICE)))
    count = len(workload.tasks)
    makers: dict[str, Callable[[], Any]] = {
        "PCGrad": a.PCGrad,
        "GradVac": a.GradVac,
        "IMTLG": a.IMTLG,
        "MGDA": a.MGDA,
        "AlignedMTL": a.AlignedMTL,
        "ConFIG": a.ConFIG,
        "GradDrop": a.GradDrop,
        "UPGrad": a.UPGrad,
        "DualProj": a.DualProj,
        "CAGrad": lambda: a.CAGrad(c=0.5),
        "NashMTL": lambda: a.NashMTL(n_tasks=count),
        "FairGrad": lambda: a.FairGrad(alpha=1.0),
    }
    for name, make in makers.items():
        for engine in ("sequential +gram", "sequential", "vmap"):
            if engine == "sequential +gram" and name in ("ConFIG", "GradDrop"):
                continue  # they need the rows
            yield Contender(f"TorchJD {name} {engine}", jacobian(workload, make, engine))


def scalarized(workload: Workload, scalarizer: Any) -> Callable[[int], None]:
    def step(index: int) -> None:
        scalarizer(torch.stack(list(workload.losses().values()))).backward()
        finish(workload)

    return step


def jacobian(workload: Workload, make: Callable[[], Any], engine: str) -> Callable[[int], None]:
    kept: list[Any] = []

    def step(index: int) -> None:
        from torchjd.autojac import jac_to_grad, mtl_backward

        if not kept:
            kept.append(make())
            note_features(workload)
        losses = list(workload.losses().values())
        mtl_backward(
            losses,
            features=workload.features,
            retain_graph=not workload.separate,
            parallel_chunk_size=None if engine == "vmap" else 1,
        )
        gram = {"optimize_gramian_computation": True} if engine.endswith("+gram") else {}
        jac_to_grad(workload.shared, kept[0], **gram)
        finish(workload)

    return step


def note_features(workload: Workload) -> None:
    """Keeps the backbone's maps of each forward pass for who must name them."""
    if not workload.features:
        workload.network.backbone.register_forward_hook(
            lambda module, inputs, outputs: workload.features.__setitem__(slice(None), outputs)
        )


LIBMTL = {
    "EW": {},
    "UW": {},
    "DWA": {"T": 2.0},
    "GLS": {},
    "RLW": {"dist": "Normal"},
    "GradNorm": {"alpha": 1.5},
    "PCGrad": {},
    "GradVac": {"beta": 0.5},
    "IMTL": {},
    "MGDA": {"mgda_gn": "l2"},
    "CAGrad": {"calpha": 0.5, "rescale": 1},
}
AT_Z = ("GradNorm", "IMTL", "MGDA", "GradDrop")


def libmtl(workload: Workload) -> Iterator[Contender]:
    """The released package's weighting module; its top-level import is broken, and is passed by."""
    spec = importlib.util.find_spec("LibMTL")
    if spec is None or spec.submodule_search_locations is None:
        return
    package = types.ModuleType("LibMTL")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["LibMTL"] = package
    weighting = importlib.import_module("LibMTL.weighting")
    for name, options in LIBMTL.items():
        yield Contender(f"LibMTL {name}", hosted(workload, getattr(weighting, name), options, at_z=False))
    for name in AT_Z:
        options = {"leak": 0.0} if name == "GradDrop" else LIBMTL[name]
        yield Contender(f"LibMTL {name} at z", hosted(workload, getattr(weighting, name), options, at_z=True))


def hosted(workload: Workload, mixin: type, options: dict[str, Any], *, at_z: bool) -> Callable[[int], None]:
    """A step as LibMTL's trainer takes it: losses in one vector, filled in place; gradients set to zero."""
    kept: list[Any] = []
    names = list(workload.tasks)

    class Host(mixin):
        """What a weighting of LibMTL expects around it."""

        def __init__(self) -> None:
            super().__init__()
            self.task_num, self.task_name, self.device = len(names), names, DEVICE
            self.rep_grad, self.rep_tasks, self.rep, self.epoch = at_z, {}, None, 2
            self.train_loss_buffer = torch.rand(len(names), 10).numpy() + 0.5
            self.init_param()

        def get_share_params(self) -> Any:
            return workload.network.backbone.parameters()

        def zero_grad_share_params(self) -> None:
            workload.network.backbone.zero_grad(set_to_none=False)

    def forward(host: Any) -> dict[str, Tensor]:
        if not at_z:
            return workload.losses()
        network = workload.network
        (z,) = network.backbone(workload.images)
        host.rep = z
        found = {}
        for name in names:
            host.rep_tasks[name] = z.detach().clone().requires_grad_()
            out = F.interpolate(network.heads[name](host.rep_tasks[name]), (HEIGHT, WIDTH), mode="bilinear")
            found[name] = workload.tasks[name].loss(out, workload.labels[name])
        return found

    def step(index: int) -> None:
        if not kept:
            kept.append(Host().to(DEVICE))
        found = forward(kept[0])
        losses = torch.zeros(len(names), device=DEVICE)
        for i, name in enumerate(names):
            losses[i] = found[name]
        workload.optimizer.zero_grad(set_to_none=False)
        kept[0].backward(losses, **options)
        workload.optimizer.step()

    return step

"""HRNet's and DeepLab's heads on the baselines; published losses of networks with deep supervision."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from golden_cases import Case, cases, parameters
from golden_methods import load
from golden_networks.pad_net import predict
from mtlbench.methods.layers.deeplab import DeepLabHead
from mtlbench.methods.multi_task import MultiTask
from mtlbench.methods.single_task import SingleTask
from torch import Tensor

from mtlbench import losses
from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.ignored import IGNORE
from mtlbench.method_weights import published_to_ours
from mtlbench.model import Method, Outputs
from mtlbench.resizing import resize
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.filling import image
from mtlbench.testing.methods import check_gradients

NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 1, "normals": 3, "edge": 1}
ORDER = ("semseg", "human_parts", "sal", "normals", "edge", "depth")
"""Of the seeds of labels in the published losses' files."""


class LastMap(TinyBackbone):
    """Four maps of the same convolution: a head that reads the last map alone leaves none unused."""

    def __init__(self) -> None:
        super().__init__((8, 8, 8, 8))
        self.convs = torch.nn.ModuleList([self.convs[-1]] * 4)


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("method", [MultiTask, SingleTask])
def test_conformance_of_hrnets_head(method: Any, check: Any) -> None:
    check(method, head="hrnet")


@pytest.mark.parametrize(
    "check", [c for c in METHOD_CHECKS if c is not check_gradients], ids=lambda check: check.__name__
)
def test_conformance_of_deeplabs_head(check: Any) -> None:
    check(MultiTask, head="deeplab")


def test_deeplabs_head_trains_all_that_leads_to_the_last_map() -> None:
    network = MultiTask(LastMap(), tiny_tasks(), head="deeplab")
    outputs = network(torch.randn(2, 3, 64, 96))
    sum(x.square().mean() for x in outputs.final.values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("backbone", "channels", "head", "expected"),
    [
        ("hrnet18", {"semseg": 40}, "hrnet", 3_945_270),
        ("hrnet18", {"depth": 1}, "hrnet", 3_934_701),
        ("hrnet18", {"semseg": 40, "depth": 1}, "hrnet", 4_019_251),
        ("hrnet18", NYUD, "hrnet", 4_167_755),
        ("hrnet18", PASCAL, "hrnet", 4_238_213),
        ("resnet50-dilated", {"depth": 1}, "deeplab", 39_633_729),
        ("resnet50-dilated", {"semseg": 40, "depth": 1}, "deeplab", 55_769_449),
        ("resnet18-dilated", PASCAL, "deeplab", 34_795_873),
    ],
)
def test_number_of_parameters(backbone: str, channels: dict[str, int], head: Any, expected: int) -> None:
    with torch.device("meta"):
        network = MultiTask(build_backbone(backbone), tasks_with(channels), head=head)
    assert parameters(network) == expected


def test_published_networks_of_one_task() -> None:
    network = SingleTask(TinyBackbone(), {"normals": tiny_tasks()["normals"]}, head="hrnet")
    ours = network.state_dict()
    published = {key.replace("decoders.normals.", "decoder."): value for key, value in ours.items()}
    assert published.keys() != ours.keys()
    assert published_to_ours(network, published).keys() == ours.keys()


@pytest.mark.parametrize("size", [(16, 24), (4, 6)])
def test_deeplab_takes_one_image_in_training(size: tuple[int, int]) -> None:
    head = DeepLabHead(6, 3)
    assert head(torch.randn(1, 6, *size)).isfinite().all()
    pooled = head[0].convs[-1][2]
    assert pooled.running_mean.abs().max() == 0  # one value is no estimate of a mean


def test_deeplab_of_several_images_learns_the_pooled_statistics() -> None:
    head = DeepLabHead(6, 3)
    head(torch.randn(2, 6, 4, 6))
    assert head[0].convs[-1][2].running_mean.abs().min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "fnc"}, "unknown `head` `fnc`: did you mean `fcn`"),
        (
            {"head": "hrnet", "head_channels": 8},
            "`head_channels` goes with `head: fcn` or `mtlora`; the width of `hrnet`",
        ),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        MultiTask(TinyBackbone(), tiny_tasks(), **options)


def with_losses() -> list[Any]:
    found = [case for method in ("mti_net", "pad_net", "baselines") for case in cases(method)]
    return [case for case in found if case.values[0].spec.get("losses")]


@pytest.mark.parametrize("case", with_losses())
def test_published_losses(case: Case) -> None:
    """Of final and auxiliary predictions, resized as in training, on the case's synthetic labels."""
    network: Any = load(case)
    with torch.no_grad():
        found = task_losses(case, network, predict(case, network))
    expected = case.spec["losses"]["values"]
    weights = case.spec["losses"]["weights"]
    assert set(found) == set(expected) - {"total"}
    assert {name: x.item() for name, x in found.items()} == pytest.approx(
        {name: expected[name] for name in found}, rel=1e-4
    )
    total = sum(weights[name.rpartition("_")[2]] * x.item() for name, x in found.items())
    assert total == pytest.approx(expected["total"], rel=1e-4)


def task_losses(case: Case, network: Method, outputs: Outputs) -> dict[str, Tensor]:
    """Published name -> loss; normals are averaged there over components, here over pixels."""
    spec = case.spec["losses"]
    size = case.spec["output_size"]
    functions = {
        "semseg": losses.cross_entropy,
        "normals": lambda x, y: losses.normals_l1(x, y) / 3,
        "edge": lambda x, y: losses.weighted_binary_cross_entropy(x, y, pos_weight=spec["edge_pos_weight"]),
        "depth": losses.depth_l1,
    }
    labels = {t: label(t, spec["label_seed"], case) for t in network.tasks}
    found = {t: functions[t](x, labels[t]) for t, x in outputs.final.items()}
    for endpoint, predictions in outputs.auxiliary.items():
        published = endpoint.replace("initial", "deepsup").removeprefix("deep_supervision.")
        found |= {
            f"{published}_{t}": functions[t](resize(x, size), labels[t]) for t, x in predictions.items()
        }
    return found


def label(task: str, seed: int, case: Case) -> Tensor:
    """As the case's file says in words."""
    batch, (height, width) = len(case.inputs()[0]), case.spec["output_size"]
    x = torch.from_numpy(image(seed + ORDER.index(task), (batch, 1, height, width)))
    if task == "semseg":
        classes = (x.abs() * 10).floor() % case.spec["channels"][task]
        return torch.where(x.abs() > 2, IGNORE, classes)[:, 0]
    if task == "edge":
        return (x > 1).float()[:, 0]
    if task == "depth":
        return torch.where(x.abs() > 1.5, IGNORE, 3 * x.abs())
    vectors = torch.from_numpy(image(seed + 100, (batch, 3, height, width)))
    return torch.where(x.abs() > 1.5, IGNORE, torch.nn.functional.normalize(vectors, dim=1))

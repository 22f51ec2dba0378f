"""SegNets: conformance, numbers of parameters, sizes, published names."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.layers.segnet import pool, unpool
from mtlbench.methods.layers.segnet_cross import Mixes
from mtlbench.methods.mtan_segnet import MTANSegNet
from mtlbench.methods.segnet import SegNet
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import published_to_ours
from mtlbench.profiling import count_module_macs
from mtlbench.tasks import Task, depth
from mtlbench.testing import METHOD_CHECKS, tiny_tasks
from mtlbench.testing.methods import check_gradients, check_task_order

TINY: dict[str, Any] = {"widths": (2, 2, 4, 4, 4)}
NYU = {"semseg": 13, "depth": 1, "normals": 3}
DENSE = partial(SegNet, layout="dense", variant="published")
LAYOUTS = ("standard", "wide", "deep", "dense", "cross")


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(depth(), name=name, channels=k) for name, k in channels.items()}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param(SegNet, {"layout": "dense"}, id="dense"),
        pytest.param(SegNet, {"layout": "cross"}, id="cross"),
        pytest.param(MTANSegNet, {}, id="mtan"),
    ],
)
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **TINY, **options)


@pytest.mark.parametrize("check", [check_gradients, check_task_order])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        (SegNet, {"layout": "deep"}),
        (SegNet, {"layout": "dense"}),
        (SegNet, {"layout": "cross"}),
        (MTANSegNet, {}),
    ],
)
def test_conformance_of_what_is_published(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, variant="published", **TINY, **options)


@pytest.mark.parametrize(
    ("method", "options", "channels", "expected"),
    [
        (SegNet, {"layout": "standard"}, NYU, 25_055_188),
        (SegNet, {"layout": "wide"}, NYU, 43_934_164),
        (SegNet, {"layout": "deep"}, NYU, 50_807_764),
        (SegNet, {"layout": "dense"}, NYU, 123_743_995),
        (SegNet, {"layout": "cross"}, NYU, 74_941_807),
        (SegNet, {"without": ("unused_weights",)}, {"semseg": 13}, 24_981_069),
        (MTANSegNet, {}, NYU, 44_229_076),
        (MTANSegNet, {}, {"semseg": 7, "depth": 1}, 41_206_987),
        (MTANSegNet, {"without": ("unused_weights",)}, {"semseg": 13}, 38_185_805),
    ],
)
def test_number_of_parameters(
    method: Any, options: dict[str, Any], channels: dict[str, int], expected: int
) -> None:
    with torch.device("meta"):
        assert parameters(method(None, tasks_with(channels), variant="published", **options)) == expected


@pytest.mark.parametrize(("method", "expected"), [(SegNet, 68.6), (MTANSegNet, 216.0)])
def test_macs_are_those_of_the_papers_network(method: Any, expected: float) -> None:
    with torch.device("meta"):
        macs = count_module_macs(method(None, tasks_with(NYU)), (288, 384))
    assert macs / 1e9 == pytest.approx(expected, rel=0.01)  # published: convolutions alone


def test_maxima_return_to_their_places() -> None:
    x = torch.tensor([[[[1.0, 2, 3, 0], [0, 0, 4, 0]]]])
    found = unpool(*pool(x))
    assert found.tolist() == [[[[0, 2, 0, 0], [0, 0, 4, 0]]]]


def test_mixtures_start_with_mostly_the_own_map() -> None:
    mixes = Mixes(["a", "b", "c"], stages=2)
    maps = {t: torch.full((1, 1, 1, 1), v) for t, v in {"a": 1.0, "b": 10.0, "c": 100.0}.items()}
    found = {t: x.item() for t, x in mixes(maps, 1).items()}
    assert found == pytest.approx({"a": 6.4, "b": 14.05, "c": 90.55})


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_images_are_padded_and_predictions_cropped(layout: Any) -> None:
    network = SegNet(None, tiny_tasks(), layout=layout, **TINY).eval()
    image = torch.rand(1, 3, 40, 50)
    padded = torch.zeros(1, 3, 64, 64)
    padded[..., :40, :50] = image
    for task, x in network(image).final.items():
        torch.testing.assert_close(x, network(padded).final[task][..., :40, :50])


def test_images_are_seen_as_they_are() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert SegNet(None, tiny_tasks(), **TINY).normalise(image).flatten().tolist() == pytest.approx(
        [0, 0.2, 1]
    )


@pytest.mark.parametrize(
    ("method", "published", "ours"),
    [
        (SegNet, "segnet.encoder_block.4.0.weight", "network.encoder.4.first.0.weight"),
        (SegNet, "segnet.conv_block_dec.3.1.0.weight", "network.decoder.3.rest.1.0.weight"),
        (SegNet, "pred_task.1.bias", "predictions.semseg.1.bias"),
        (DENSE, "decoder_block.0.3.weight", "network.unused.3.weight"),
        (DENSE, "decoder_block.2.6.bias", "network.decoder.2.6.bias"),
        (DENSE, "encoder_block_t.2.3.6.weight", "network.encoders.normals.3.6.weight"),
        (MTANSegNet, "segnet.decoder_att.1.0.3.bias", "decoder_attention.depth.0.3.bias"),
        (MTANSegNet, "segnet.pred_task2.0.weight", "predictions.depth.0.weight"),
    ],
)
def test_names_of_other_published_code(method: Any, published: str, ours: str) -> None:
    network = method(None, tiny_tasks(), **TINY)
    assert ours in network.state_dict()
    state: dict[str, Tensor] = {published: torch.zeros(1)}
    assert list(published_to_ours(network, state)) == [ours]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (SegNet, {"layout": "wider"}, "unknown `layout` of segnet `wider`: did you mean `wide`"),
        (SegNet, {"widths": (4, 4)}, r"`widths` of segnet must be 5 numbers, got \[4, 4\]"),
        (
            MTANSegNet,
            {"widths": (4, 4, 4, 4, 0)},
            "`widths` of mtan_segnet must be a whole number >= 1, got 0",
        ),
        (SegNet, {"variant": "published", "without": ("one_mix",)}, "`published` of SegNet has"),
    ],
)
def test_wrong_options_are_named(method: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        method(None, tiny_tasks(), **options)

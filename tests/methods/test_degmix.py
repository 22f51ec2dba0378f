"""DeGMix: conformance, numbers of parameters, what its quirks do, and the parts that can be left out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from golden_cases import Case, cases
from golden_methods import load
from mtlbench.methods.degmix.degmix import DeGMix
from torch import Tensor

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import published_to_ours
from mtlbench.profiling import count_network
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import (
    EVEN,
    check_batch_independence,
    check_gradients,
    check_output_shapes,
    check_reach,
)
from mtlbench.testing.tunings import tiny_vit
from mtlbench.variants import variants

SMALL: dict[str, Any] = {"dim": 12, "depth": 1}
NYUD = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
PASCAL = {"semseg": 21, "human_parts": 7, "sal": 2, "normals": 3, "edge": 1}
RELEASED, TABLE1 = {"variant": "published"}, {"variant": "table1"}
ROWS = {
    "baseline": (),
    "DM": ("dm",),
    "DM+SSG+TI": ("dm", "ssg", "ti"),
    "DM+TI+TQG": ("dm", "ti", "tqg"),
    "TQG": ("tqg",),
}
"""Of Table V, and an odd one."""


def tasks_with(channels: dict[str, int]) -> dict[str, Task]:
    return {name: replace(tiny_tasks()["depth"], name=name, channels=k) for name, k in channels.items()}


def built(*, plain: bool = False, seed: int = 0, **options: Any) -> DeGMix:
    """A network with random parameters, always the same ones; `plain`: for maps that all have stride 16."""
    torch.manual_seed(seed)
    backbone = TinyBackbone(strides=(16,) * 4 if plain else (4, 8, 16, 32))
    network = DeGMix(backbone, tiny_tasks(), **SMALL | options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network.eval()


@torch.no_grad()
def predict(network: DeGMix, images: Tensor | None = None) -> Tensor:
    """All tasks' predictions, of the same images if none are given."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 3, *EVEN, generator=generator) if images is None else images
    return torch.cat(list(network(images).final.values()), dim=1)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="corrected"),
        pytest.param({"dim": 15, "depth": 2, "heads": 3, "gate_depth": 2}, id="deep"),
        pytest.param(RELEASED, id="published"),
        pytest.param(TABLE1, id="table1"),
    ],
)
def test_conformance(options: dict[str, Any], check: Any) -> None:
    check(DeGMix, **SMALL | options)


@pytest.mark.parametrize("check", [check_gradients, check_reach, check_batch_independence])
@pytest.mark.parametrize("variant", ["corrected", "published"])
@pytest.mark.parametrize("modules", ROWS.values(), ids=ROWS)
def test_parts_can_be_left_out(modules: tuple[str, ...], variant: str, check: Any) -> None:
    check(DeGMix, **SMALL, modules=modules, variant=variant)


@pytest.mark.parametrize("modules", [ROWS["DM+SSG+TI"], ROWS["DM+TI+TQG"]])
def test_parts_of_table1_can_be_left_out(modules: tuple[str, ...]) -> None:
    check_reach(DeGMix, **SMALL, modules=modules, variant="table1")


@pytest.mark.parametrize(
    ("part", "prefix"), [("dm", "mixers."), ("ti", "fusion"), ("tqg", "quer"), ("ssg", "gate.")]
)
def test_a_part_that_is_left_out_has_no_parameters(part: str, prefix: str) -> None:
    rest = tuple(p for p in ("dm", "ssg", "ti", "tqg") if p != part)
    names, fewer = ([n for n, _ in built(modules=m).named_parameters()] for m in ((*rest, part), rest))
    assert set(names) - set(fewer) == {name for name in names if name.startswith(prefix)} != set()


@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, TABLE1, {"plain": True}], ids=["corrected", "table1", "plain"])
def test_maps_behind_the_last_scale_are_not_read(options: dict[str, Any], scales: int) -> None:
    network = built(**options, scales=scales)
    before = predict(network)
    torch.nn.init.zeros_(network.backbone.convs[scales].weight)
    assert torch.equal(predict(network), before)
    torch.nn.init.zeros_(network.backbone.convs[scales - 1].weight)
    assert not torch.equal(predict(network), before)


def test_fewer_scales_train() -> None:
    check_output_shapes(DeGMix, **SMALL, scales=2)


QUIRKS = [(variant, quirk) for variant, kept in variants(DeGMix).items() for quirk in sorted(kept)]


@pytest.mark.parametrize("plain", [False, True], ids=["pyramid", "plain"])
@pytest.mark.parametrize(("variant", "quirk"), QUIRKS)
def test_each_quirk_changes_predictions_unless_it_is_dead_weight(
    variant: str, quirk: str, plain: bool
) -> None:
    if plain and variant == "table1":
        return  # refused
    kept, left = (built(plain=plain, variant=variant, without=w) for w in ((), (quirk,)))
    own = left.state_dict()
    left.load_state_dict({key: value for key, value in kept.state_dict().items() if key in own})
    assert torch.equal(predict(kept), predict(left)) == (quirk == "unused_linear1")
    assert bool(left.dead_parameters) == (variant == "published" and quirk != "unused_linear1")


@pytest.mark.parametrize("plain", [False, True], ids=["pyramid", "plain"])
def test_published_without_its_quirks_is_corrected(plain: bool) -> None:
    corrected = built(plain=plain)
    stripped = built(plain=plain, variant="published", without=DeGMix.variants["published"])
    stripped.load_state_dict(corrected.state_dict())
    assert torch.equal(predict(stripped), predict(corrected))


@pytest.mark.parametrize("quirk", DeGMix.sample_mixing)
def test_samples_see_each_other_by_each_quirk_that_says_so(quirk: str) -> None:
    variant = "published" if quirk in DeGMix.variants["published"] else "table1"
    others = tuple(q for q in DeGMix.variants[variant] if q != quirk)
    mixing, apart = (built(variant=variant, without=w) for w in (others, (*others, quirk)))
    assert (mixing.mixes_samples, apart.mixes_samples) == (True, False)
    images = torch.randn(2, 3, *EVEN)
    changed = torch.cat([images[:1] + 1, images[1:]])
    assert not torch.equal(predict(mixing, images)[1], predict(mixing, changed)[1])
    torch.testing.assert_close(predict(apart, images)[1], predict(apart, changed)[1])


def test_at_a_quarter_corrected_attends_at_each_position_of_a_sample() -> None:
    network = built(plain=True)
    x = torch.randn(2, 12, 7, 9)
    read = [x + t for t in range(4)]

    def answers(maps: list[Tensor]) -> Tensor:
        tokens = network._add_answers([m.flatten(2).transpose(1, 2) for m in maps])
        return torch.stack(tokens)

    changed = [m.clone() for m in read]
    changed[1][1, :, 2, 3] += 1.0
    with torch.no_grad():
        moved = (answers(read) - answers(changed)).abs().amax(dim=-1) > 1e-7  # (T, B, N)
    assert moved[:, 1, 2 * 9 + 3].all()
    assert moved.sum() == 4


@pytest.mark.parametrize(
    "deform",
    [
        "torchvision",
        pytest.param(
            "mmcv", marks=pytest.mark.skipif(find_spec("mmcv") is None, reason="mmcv is not installed")
        ),
    ],
)
@pytest.mark.parametrize("variant", ["corrected", "published", "table1"])
def test_other_operators_give_the_same_network(variant: str, deform: str) -> None:
    ours, other = (built(variant=variant, deform=d) for d in ("sampled", deform))
    other.load_state_dict(ours.state_dict())
    torch.testing.assert_close(predict(other), predict(ours), atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(find_spec("mmcv") is not None, reason="mmcv is installed")
def test_an_operator_that_is_not_installed_is_missed_before_training() -> None:
    with pytest.raises(MtlbenchError, match="`deform: mmcv` needs the package mmcv with compiled operators"):
        built(deform="mmcv")


@pytest.mark.parametrize(
    ("backbone", "channels", "options", "expected"),
    [
        ("swin-t", NYUD, RELEASED, 39_100_859),
        ("swin-t", NYUD, TABLE1, 33_198_779),
        ("swin-t", NYUD, {}, 38_731_451),
        ("swin-s", NYUD, RELEASED, 60_418_763),
        ("swin-b", NYUD, RELEASED, 100_970_277),
        ("swin-l", NYUD, RELEASED, 214_513_625),
        ("hrnet18", NYUD, RELEASED, 8_986_498),
        ("hrnet48", NYUD, RELEASED, 72_937_631),
        ("hrnet18", NYUD, TABLE1 | {"dim": 128, "depth": 1}, 4_831_290),
        ("hrnet18", PASCAL, RELEASED, 9_824_626),
        ("swin-t", PASCAL, RELEASED, 40_276_352),
        ("vit-b", NYUD, RELEASED, 98_014_721),
        ("vit-l", NYUD, RELEASED, 316_908_545),
    ],
)
def test_number_of_parameters(
    backbone: str, channels: dict[str, int], options: dict[str, Any], expected: int
) -> None:
    with torch.device("meta"):
        network = DeGMix(build_backbone(backbone), tasks_with(channels), **options)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_module_macs_of_the_released_head() -> None:
    with torch.device("meta"):
        network = DeGMix(build_backbone("swin-t"), tasks_with(NYUD), variant="published")
        assert count_network(network, (425, 560)).module_macs == pytest.approx(35.02e9, rel=1e-3)


@pytest.mark.parametrize("variant", ["corrected", "published", "table1"])
def test_trains_in_bfloat16(variant: Any) -> None:
    network = built(variant=variant).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, *EVEN))
    sum(value.float().square().mean() for value in outputs.final.values()).backward()
    alive = [p for n, p in network.named_parameters() if not n.startswith(network.dead_parameters or "//")]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in alive)


@pytest.mark.parametrize("backbone", [partial(build_backbone, "hrnet18"), tiny_vit], ids=["hrnet18", "vit"])
def test_trains_on_a_real_backbone(backbone: Callable[[], Backbone]) -> None:
    network = DeGMix(backbone(), tiny_tasks(), **SMALL)
    sum(value.square().mean() for value in network(torch.randn(2, 3, *EVEN)).final.values()).backward()
    without = {n for n, p in network.named_parameters() if p.grad is None}
    assert without == {n for n, _ in network.named_parameters() if n.startswith(network.dead_parameters)}


HEADS = [
    case for method in ("degmix", "degmix_vit") for case in cases(method) if case.values[0].kind == "head"
]


@pytest.mark.parametrize("case", HEADS)
def test_released_weights_load_into_the_corrected_variant(case: Case) -> None:
    released = load(case)
    assert isinstance(released, DeGMix)
    if released.variant == "table1":  # its tokens are pixels: another embedding, another query
        return
    corrected = DeGMix(released.backbone, released.tasks)
    corrected.load_state_dict(published_to_ours(corrected, case.published_state()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "`dim` of degmix must be a whole number >= 1, got 0"),
        ({"depth": 1.5}, r"`depth` of degmix must be a whole number >= 1, got 1\.5"),
        ({"heads": True}, "`heads` of degmix must be"),
        ({"gate_depth": 0}, "`gate_depth` of degmix must be a whole number >= 1, got 0"),
        ({"scales": 5}, "`scales` of degmix must be at most 4, the backbone's maps, got 5"),
        ({"dim": 16, "heads": 3}, "`dim` of degmix must be a multiple of `heads`, got dim 16 and heads 3"),
        ({"variant": "correct"}, "did you mean `corrected`"),
        ({"without": ("query_over_batch",)}, "`corrected` of DeGMix has none"),
        ({"modules": ("dm", "tgq")}, "did you mean `tqg`"),
        ({"modules": ("dm", "dm")}, "must name each part once, got dm, dm"),
        ({"deform": "torch"}, "unknown `deform` of degmix `torch`"),
        (
            {"variant": "table1", "plain": True},
            "variant `table1` of degmix needs feature maps at strides 4 to 32",
        ),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        built(**options)

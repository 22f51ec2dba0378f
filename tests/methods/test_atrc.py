"""ATRC: contexts, genotypes, auxiliary predictions, and the network made of them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import ROOT, parameters
from mtlbench.methods.atrc.atrc import ATRC
from mtlbench.methods.atrc.auxiliary import auxiliary_channels, depth_bins, nearest_centroids
from mtlbench.methods.atrc.centroids import CENTROIDS
from mtlbench.methods.atrc.contexts import Context, GlobalContext, LabelContext, LocalContext, Regions
from mtlbench.methods.atrc.genotypes import published, resolve
from test_losses import golden_labels
from torch import Tensor

from mtlbench import tasks as make
from mtlbench.backbones.build import build_backbone
from mtlbench.errors import MtlbenchError
from mtlbench.tasks import Task
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.filling import image
from mtlbench.testing.methods import EVEN

NONE, GLOBAL, LOCAL, T_LABEL, S_LABEL = range(5)
MIXED = {
    "semseg": {"semseg": 0, "depth": 1, "normals": 2, "edge": 4},
    "depth": {"semseg": 0, "depth": 0, "normals": 0, "edge": 0},
    "normals": {"semseg": 3, "depth": 2, "normals": 0, "edge": 1},
    "edge": {"semseg": "s-label", "depth": 0, "normals": 3, "edge": 2},
}
METHODS = [
    pytest.param({}, id="auto"),
    pytest.param({"genotype": "global"}, id="global"),
    pytest.param({"genotype": "local"}, id="local"),
    pytest.param({"genotype": MIXED}, id="mixed"),
    pytest.param({"genotype": MIXED, "variant": "published"}, id="mixed-published"),
]


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("options", METHODS)
def test_conformance(options: dict[str, Any], check: Any) -> None:
    check(ATRC, **options)


def nyud() -> dict[str, Task]:
    classes = [str(i) for i in range(40)]
    return {"semseg": make.semseg(classes)} | {k: v for k, v in tiny_tasks().items() if k != "semseg"}


def pascal() -> dict[str, Task]:
    classes, parts = ([str(i) for i in range(n)] for n in (21, 7))
    tasks = (make.semseg(classes), make.human_parts(parts), make.sal(), make.normals(), make.edge())
    return {task.name: task for task in tasks}


@pytest.mark.parametrize(
    ("backbone", "tasks", "expected"),
    [("hrnet18", nyud(), 5_060_994), ("hrnet48", nyud(), 72_478_947), ("hrnet18", pascal(), 5_383_142)],
    ids=["nyud-hrnet18", "nyud-hrnet48", "pascal-hrnet18"],
)
def test_number_of_parameters_is_the_published_one(
    backbone: str, tasks: dict[str, Task], expected: int
) -> None:
    with torch.device("meta"):
        assert parameters(ATRC(build_backbone(backbone), tasks)) == expected


def test_the_meta_device_is_enough_for_shapes() -> None:
    with torch.device("meta"):
        outputs = ATRC(TinyBackbone(), tiny_tasks(), genotype=MIXED).eval()(torch.empty(1, 3, 53, 71))
    assert outputs.final["normals"].shape == (1, 3, 53, 71)


# Contexts


def window_by_loops(q: Tensor, k: Tensor, v: Tensor, *, see_outside: bool) -> Tensor:
    """Position by position, as the text says it."""
    batch, channels, height, width = q.shape
    answers = []
    for y in range(height):
        for x in range(width):
            window = (..., slice(max(y - 4, 0), y + 5), slice(max(x - 4, 0), x + 5))
            keys, values = k[window].flatten(2), v[window].flatten(2)  # (B, C, positions inside)
            similarities = (q[:, :, y, x, None] * keys).sum(1) / math.sqrt(channels)
            inside = similarities.shape[1]
            if see_outside:
                similarities = torch.cat([similarities, torch.zeros(batch, 81 - inside)], dim=1)
            weights = similarities.softmax(1)[:, None, :inside]
            answers.append((weights * values).sum(2))
    return torch.stack(answers, dim=2).unflatten(2, (height, width))


@pytest.mark.parametrize("see_outside", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 10), (9, 17)])
def test_local_context_is_attention_to_the_window(size: tuple[int, int], see_outside: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 3, *size, generator=generator, requires_grad=True) for _ in range(3)]
    context = LocalContext(6, 3, see_outside=see_outside)
    found, expected = context.attend(*inputs), window_by_loops(*inputs, see_outside=see_outside)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(found.shape, generator=generator)
    gradients = (torch.autograd.grad((x * weights).sum(), inputs) for x in (found, expected))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_global_context_weighs_all_positions_by_positive_similarity() -> None:
    context = GlobalContext(6, 3).eval()
    target, source = torch.randn(2, 6, 2, 3), torch.randn(2, 6, 2, 3)
    q, k, v = (x.flatten(2) for x in (context.query(target), context.key(source), context.value(source)))
    assert q.min() > 0
    assert k.min() > 0
    answer = context(target, source).flatten(2)
    for n in range(6):
        weights = torch.stack([(q[:, :, n] * k[:, :, m]).sum(1) for m in range(6)])  # (6, B)
        expected = sum(weights[m, :, None] / weights.sum(0)[:, None] * v[:, :, m] for m in range(6))
        torch.testing.assert_close(answer[:, :, n], expected, atol=1e-5, rtol=1e-4)


def test_label_context_is_softmax_attention_to_the_regions() -> None:
    context = LabelContext(6, 3).eval()
    target, regions = torch.randn(2, 6, 2, 3), torch.randn(2, 6, 5, 1)
    q, k, v = context.query(target), context.key(regions), context.value(regions)
    answer = context(target, regions)
    for b in range(2):
        for y in range(2):
            for x in range(3):
                similarities = [q[b, :, y, x] @ k[b, :, i, 0] / math.sqrt(3) for i in range(5)]
                weights = torch.stack(similarities).softmax(0)
                torch.testing.assert_close(answer[b, :, y, x], v[b, :, :, 0] @ weights, atol=1e-5, rtol=1e-4)


def test_regions_average_features_by_the_softmax_over_positions() -> None:
    logits = {"a": torch.randn(2, 3, 2, 4), "b": torch.randn(2, 5, 2, 4)}
    features = {"a": torch.randn(2, 6, 2, 4), "b": torch.randn(2, 6, 2, 4)}
    regions = Regions(logits, features)
    for kind, target, source, labels in [(T_LABEL, "a", "b", "a"), (S_LABEL, "a", "b", "b")]:
        means = regions.asked(kind, target, source)
        assert means.shape == (2, 6, logits[labels].shape[1], 1)
        weights = logits[labels].exp()
        for c in range(6):
            weighted = (weights * features[source][:, c : c + 1]).sum((2, 3)) / weights.sum((2, 3))
            torch.testing.assert_close(means[:, c, :, 0], weighted)
    assert regions.asked(GLOBAL, "a", "b") is features["b"]
    assert regions.asked(LOCAL, "a", "b") is features["b"]


@pytest.mark.parametrize("context", [GlobalContext, LocalContext, LabelContext])
def test_contexts_ask_with_the_target_and_answer_with_the_source(context: Callable[..., Context]) -> None:
    network = context(6, 3).eval()
    target, source = torch.randn(1, 6, 4, 5), torch.randn(1, 6, 4, 5)
    answer = network(target, source)
    assert not torch.allclose(answer, network(target + torch.randn_like(target), source))
    assert not torch.allclose(answer, network(target, source + torch.randn_like(source)))


# Genotypes


def test_published_genotypes() -> None:
    assert published("nyud-hrnet18")["edge"] == {"semseg": 3, "depth": 3, "normals": 1, "edge": 3}
    assert published("nyud-hrnet48")["semseg"] == {"semseg": 3, "depth": 0, "normals": 0, "edge": 4}
    pascal_hrnet18 = published("pascal-hrnet18")
    assert pascal_hrnet18["semseg"] == {"semseg": 3, "human_parts": 3, "sal": 4, "normals": 0, "edge": 4}
    assert pascal_hrnet18["edge"] == {"semseg": 3, "human_parts": 3, "sal": 3, "normals": 1, "edge": 3}


@pytest.mark.parametrize(
    ("width", "tasks", "expected"),
    [
        (270, nyud(), "nyud-hrnet18"),
        (720, nyud(), "nyud-hrnet48"),
        (1440, nyud(), "nyud-hrnet48"),
        (1440, pascal(), "pascal-hrnet18"),
    ],
)
def test_auto_is_the_published_genotype_of_the_nearest_backbone(
    width: int, tasks: dict[str, Task], expected: str
) -> None:
    assert resolve("auto", tasks, width) == published(expected)


def test_auto_takes_part_of_a_genotype_and_fills_it_up_with_t_label() -> None:
    some = {name: nyud()[name] for name in ("normals", "edge")}
    assert resolve("auto", some, 270) == {
        "normals": {"normals": 3, "edge": 4},
        "edge": {"normals": 1, "edge": 3},
    }
    more = some | {"flow": make.depth()}
    filled = resolve("auto", more, 270)
    assert filled["flow"] == {"normals": 3, "edge": 3, "flow": 3}
    assert filled["normals"] == {"normals": 3, "edge": 4, "flow": 3}
    pascals = {name: pascal()[name] for name in ("semseg", "edge")}  # known by its 21 classes
    assert resolve("auto", pascals, 270)["edge"] == {"semseg": 3, "edge": 3}


@pytest.mark.parametrize("outer", ["published", "result"])
def test_a_genotype_from_a_file(tmp_path: Path, outer: str) -> None:
    content: dict[str, Any] = {"data": published("nyud-hrnet48"), "step": 39_999}
    if outer == "result":
        content = {"cell": {}, "findings": {"genotype": content}}
    (tmp_path / "found.json").write_text(json.dumps(content))
    network = ATRC(TinyBackbone(), tiny_tasks(), genotype=str(tmp_path / "found.json"))
    assert network.genotype == published("nyud-hrnet48")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genotype": "nyud-hrnet81"}, "unknown `genotype` of atrc `nyud-hrnet81`: did you mean"),
        ({"genotype": "pascal-hrnet18"}, "`pascal-hrnet18` of atrc: target `semseg` has no source `depth`"),
        ({"genotype": "pascal-hrnet18"}, "no target `depth`"),
        (
            {"genotype": MIXED | {"edge": {"semseg": 3, "normals": 7, "edge": "lokal"}}},
            r"target `edge` has no source `depth`; target `edge`, source `normals`: kind 7 must be one of "
            r"0 \(none\), 1 \(global\), .*; target `edge`, source `edge`: kind 'lokal' must be",
        ),
        ({"dropout": 1.0}, r"`dropout` of atrc must be >= 0 and < 1, got 1\.0"),
        ({"depth_range": (10.0, 0.7)}, r"`depth_range` of atrc must be two numbers .*, got \[10\.0, 0\.7\]"),
        ({"centroids": "rooms"}, "`centroids` of atrc must be auto, nyud or pascal_context, got 'rooms'"),
        ({"without": ("outside_similarity",)}, "`corrected` of ATRC has none"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        ATRC(TinyBackbone(), tiny_tasks(), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[1]", "must hold"), ('{"findings": null}', "or be the result of a finished")],
)
def test_wrong_genotype_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(MtlbenchError, match=message):
        ATRC(TinyBackbone(), tiny_tasks(), genotype=str(tmp_path / "wrong.json"))


# The network


def moved(network: ATRC) -> ATRC:
    """Every parameter off its initial value: the last batch norm of the contexts starts at 0."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network.eval()


def build(**options: Any) -> ATRC:
    torch.manual_seed(0)
    return moved(ATRC(TinyBackbone(), tiny_tasks(), **options))


def images() -> Tensor:
    return torch.randn(2, 3, *EVEN, generator=torch.Generator().manual_seed(1))


def test_auxiliary_predictions_are_those_that_a_context_needs() -> None:
    auxiliary = build(genotype=MIXED)(images()).auxiliary["aux"]
    assert {task: x.shape[1] for task, x in auxiliary.items()} == {"semseg": 5, "normals": 40, "edge": 2}
    assert build(genotype="local")(images()).auxiliary == {}


def test_a_target_without_sources_keeps_its_own_features() -> None:
    network = build(genotype=MIXED)
    assert "depth" not in network.out_proj
    assert network.fuse["depth"].conv.in_channels == network.width


def test_auxiliary_losses_train_the_auxiliary_layers_only_and_final_losses_train_these_too() -> None:
    network = build(genotype=MIXED)
    outputs = network(images())
    sum(x.square().mean() for x in outputs.auxiliary["aux"].values()).backward(retain_graph=True)
    reached = {name for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {n for n, _ in network.named_parameters() if n.startswith("aux_")}
    network.zero_grad()
    sum(x.square().mean() for x in outputs.final.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_contexts_add_nothing_at_the_start() -> None:
    network = ATRC(TinyBackbone(), tiny_tasks(), genotype="global").eval()
    before = network(images()).final
    for parameter in network.contexts.parameters():
        torch.nn.init.normal_(parameter)
    for task, value in network(images()).final.items():
        assert torch.equal(value, before[task])


@pytest.mark.parametrize("genotype", ["local", "s-label"])
def test_similarity_outside_the_map_concerns_local_contexts_alone(genotype: str) -> None:
    corrected = build(genotype=genotype)(images()).final
    released = build(genotype=genotype, variant="published")(images()).final
    without = build(genotype=genotype, variant="published", without=("outside_similarity",))(images()).final
    for task, value in corrected.items():
        assert torch.allclose(value, released[task], atol=1e-7) == (genotype != "local")
        assert torch.equal(value, without[task])


def test_in_bfloat16() -> None:
    network = build(genotype=MIXED, dropout=0.0).train()
    expected = network(images()).final
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images())
    for task, value in outputs.final.items():
        assert (value - expected[task]).abs().max() < 0.1 * expected[task].abs().max()
    sum(value.float().square().mean() for value in outputs.final.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# Auxiliary losses


@pytest.mark.parametrize("name", ["nyud", "pascal"])
def test_golden_auxiliary_losses(name: str) -> None:
    case = json.loads((ROOT / "atrc" / "losses.json").read_text())["cases"][name]
    tasks = (nyud() if name == "nyud" else pascal()) | {"edge": make.edge(case["edge_pos_weight"])}
    network = ATRC(TinyBackbone(), tasks)
    for position, (task_name, task) in enumerate(tasks.items()):
        logits = torch.from_numpy(image(9507 + 20 * position, (2, auxiliary_channels(task), 6, 8)))
        loss = network.auxiliary_loss("aux", task_name)(logits, golden_labels(task, position))
        expected = case["weighted_losses"][f"{task_name}_aux"]
        assert task.weight * loss.item() == pytest.approx(expected, rel=1e-5), task_name


def test_golden_centroids() -> None:
    golden = json.loads((ROOT / "atrc" / "normals_centroids.json").read_text())
    assert torch.equal(torch.tensor(CENTROIDS["nyud"]), torch.tensor(golden["nyu"]))
    assert torch.equal(torch.tensor(CENTROIDS["pascal_context"]), torch.tensor(golden["pascal"]))


def test_centroids_are_those_of_the_tasks_or_of_the_option() -> None:
    chosen = [
        ATRC(TinyBackbone(), nyud()),
        ATRC(TinyBackbone(), pascal()),
        ATRC(TinyBackbone(), nyud(), centroids="pascal_context"),
    ]
    names = ["nyud", "pascal_context", "pascal_context"]
    for network, name in zip(chosen, names, strict=True):
        assert torch.equal(network.centroids, torch.tensor(CENTROIDS[name]))  # type: ignore[index]
        assert "centroids" not in network.state_dict()


def test_depth_bins_are_even_in_the_logarithm() -> None:
    edges = 0.7 * (10 / 0.7) ** (torch.arange(41) / 40)
    middle = (edges[1:] * edges[:-1]).sqrt()
    assert depth_bins(middle.view(1, 1, 1, -1), (0.7, 10.0)).flatten().tolist() == list(range(40))
    others = torch.tensor([0.1, 50.0, 0.0, 255.0, float("nan"), -1.0]).view(1, 1, 1, -1)
    assert depth_bins(others, (0.7, 10.0)).flatten().tolist() == [0, 39, 255, 255, 255, 255]


def test_normals_get_the_nearest_centroid() -> None:
    centroids = torch.tensor(CENTROIDS["nyud"])
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    vectors[0], vectors[1] = 0, float("nan")
    labels = vectors.T.reshape(1, 3, 10, 20)
    expected = torch.cdist(vectors.double(), centroids.double()).argmin(1)
    expected[:2] = 255
    assert nearest_centroids(labels, centroids).flatten().tolist() == expected.tolist()

"""ATRC's search stage: mixing, schedules, freezing, and what it finds."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from mtlbench.methods.atrc.atrc import ATRC
from mtlbench.methods.atrc.search import ATRCSearch, Candidates
from torch import Tensor
from torch.nn import functional as F
from trainings import make_rooms, trainer_of

from mtlbench.data import Dataset
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry
from mtlbench.spec import Choice
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.methods import EVEN
from mtlbench.training import Interrupted, Trainer

TWO = {name: tiny_tasks()[name] for name in ("semseg", "normals")}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_conformance(variant: str, check: Any) -> None:
    check(ATRCSearch, variant=variant)


def build(**options: Any) -> ATRCSearch:
    """A network that isn't at its start, where the contexts add nothing."""
    torch.manual_seed(0)
    network = ATRCSearch(TinyBackbone(), TWO, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith("arch_param"):
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def pair(network: ATRCSearch, target: str, source: str) -> Candidates:
    found = network.get_submodule(f"contexts.{target}.{source}")
    assert isinstance(found, Candidates)
    return found


def prefer(network: ATRCSearch, target: str, source: str, values: list[float]) -> Candidates:
    """Give a pair's kinds these parameters."""
    found = pair(network, target, source)
    found.arch_param.data = torch.tensor(values)
    return found


def images() -> Tensor:
    return torch.randn(2, 3, *EVEN, generator=torch.Generator().manual_seed(1))


def test_a_pair_has_every_kind_and_a_task_itself_has_its_labels_once() -> None:
    network = build()
    assert pair(network, "semseg", "normals").arch_param.tolist() == [0.0] * 5
    assert pair(network, "semseg", "semseg").arch_param.tolist() == [0.0] * 4
    assert not any(name.endswith("value.bn.weight") for name, _ in network.named_parameters())


@pytest.mark.parametrize(
    ("progress", "temperature", "factor"), [(0, 1, -0.02), (0.5, 0.525, 0.02), (1, 0.05, 0.06)]
)
def test_schedules(
    monkeypatch: pytest.MonkeyPatch, progress: float, temperature: float, factor: float
) -> None:
    network, seen = build(), []
    softmax = F.gumbel_softmax

    def record(logits: Tensor, tau: float) -> Tensor:
        seen.append(tau)
        return softmax(logits, tau)

    monkeypatch.setattr(F, "gumbel_softmax", record)
    network.schedule(progress)
    network(images())
    assert seen == pytest.approx([temperature] * 2)
    # two pairs of four kinds, two of five, all equally likely
    expected = factor * (math.log(4) + math.log(5)) / 2
    assert network.penalty(network.tasks).item() == pytest.approx(expected, rel=1e-5)


def test_the_penalty_is_the_mean_entropy() -> None:
    network = build(entropy=(1.0, 1.0))
    prefer(network, "semseg", "semseg", [0.1, -0.2, 0.3, 0.0])
    prefer(network, "normals", "semseg", [1.0, 0.0, 0.0, 0.0, -2.0])
    entropies = [
        torch.distributions.Categorical(logits=parameter).entropy()
        for name, parameter in network.named_parameters()
        if name.endswith("arch_param")
    ]
    torch.testing.assert_close(network.penalty(network.tasks), torch.stack(entropies).mean())
    network.penalty(network.tasks).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == name.endswith("arch_param")
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_training_mixes_all_kinds_by_noisy_weights() -> None:
    torch.manual_seed(0)
    candidates = pair(build(), "semseg", "normals").eval()
    target, sources = torch.randn(1, 20, 4, 5), {k: torch.randn(1, 20, 4, 5) for k in range(1, 5)}
    weights = torch.tensor([0.1, 0.4, 0.3, 0.15, 0.05])
    expected = sum(weights[k] * candidates.choose(k, target, sources.__getitem__) for k in range(5))
    torch.testing.assert_close(candidates(weights, target, sources.__getitem__), expected)
    assert candidates.choose(0, target, sources.__getitem__).abs().max() == 0


def test_noise_comes_from_the_global_generator() -> None:
    network = build()
    outputs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outputs.append(network(images()).final["semseg"])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_evaluation_takes_the_likeliest_kind() -> None:
    network = build().eval()
    before = network(images()).final
    prefer(network, "semseg", "normals", [0.0, 0.0, 0.01, 0.0, 0.0])
    after = network(images()).final
    assert not torch.equal(before["semseg"], after["semseg"])
    assert torch.equal(before["normals"], after["normals"])
    prefer(network, "semseg", "normals", [0.0, 0.0, 9.0, 0.0, 0.0])
    assert torch.equal(after["semseg"], network(images()).final["semseg"])


def test_a_pair_is_frozen_at_the_margin_and_stays_so() -> None:
    network = build()
    probabilities = [0.1, 0.5, 0.21, 0.19]
    near = prefer(network, "semseg", "semseg", [math.log(p) for p in probabilities])
    network.schedule(0.1)
    assert near.fixed_weights is None
    probabilities[1:3] = 0.51, 0.2
    prefer(network, "semseg", "semseg", [math.log(p) for p in probabilities])
    network.schedule(0.2)
    assert near.fixed_weights is not None
    assert near.fixed_weights.tolist() == [0, 1, 0, 0]
    prefer(network, "semseg", "semseg", [0.0, 0.0, 0.0, 9.0])
    network.schedule(0.3)
    assert near.fixed_weights.tolist() == [0, 1, 0, 0]
    assert pair(network, "semseg", "normals").fixed_weights is None


def test_a_frozen_pair_uses_its_kind_alone() -> None:
    network = build()
    for target in TWO:
        for source in TWO:
            pair(network, target, source).freeze(0 if source == target else 4)
    final = network(images()).final  # no noise: nothing is left to be mixed
    torch.manual_seed(9)
    for task, value in network(images()).final.items():
        assert torch.equal(value, final[task])
    sum(value.square().mean() for value in final.values()).backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None and ".ops." in name}
    assert {name.split(".ops.")[0] for name in reached} == {
        "contexts.semseg.normals",
        "contexts.normals.semseg",
    }
    assert all(".ops.3." in name for name in reached)
    assert all(p.grad is None for name, p in network.named_parameters() if name.endswith("arch_param"))


def test_what_is_frozen_is_saved() -> None:
    network, other = build(), build()
    pair(network, "semseg", "normals").freeze(2)
    state = network.state_dict()
    assert [name for name in state if name.endswith("fixed_weights")] == [
        "contexts.semseg.normals.fixed_weights"
    ]
    pair(other, "normals", "normals").freeze(1)
    other.load_state_dict(state)
    assert pair(other, "normals", "normals").frozen is None
    loaded = pair(other, "semseg", "normals")
    assert loaded.frozen == 2
    assert loaded.fixed_weights is not None
    assert loaded.fixed_weights.tolist() == [0, 0, 1, 0, 0]


def test_findings_are_the_likeliest_kinds_and_make_a_network(tmp_path: Path) -> None:
    network = build()
    prefer(network, "semseg", "normals", [0.0, 0.0, 0.0, 0.0, 0.1])
    prefer(network, "normals", "normals", [0.0, 0.0, 0.0, 0.1])
    found = network.findings()
    expected = {"semseg": {"semseg": 0, "normals": 4}, "normals": {"semseg": 0, "normals": 3}}
    assert found == {"genotype": {"data": expected, "step": 0}}
    (tmp_path / "result.json").write_text(json.dumps({"findings": found}))
    assert ATRC(TinyBackbone(), TWO, genotype=str(tmp_path / "result.json")).genotype == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch_lr": 0}, "`arch_lr` of atrc_search must be > 0, got 0"),
        ({"temperature": (1.0, 0.0)}, r"`temperature` of atrc_search must be > 0, got \[1\.0, 0\.0\]"),
        ({"margin": 1.5}, r"`margin` of atrc_search must be > 0 and <= 1, got 1\.5"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        ATRCSearch(TinyBackbone(), TWO, **options)


# Whole searches


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    registry.add_file(TINY_PLUGINS)
    return make_rooms(tmp_path_factory.mktemp("rooms"))


def searched(folder: Path, rooms: Dataset, *, stop: int | None = None) -> Trainer:
    """Six steps with a rate at which pairs decide within them."""
    method = Choice(name="atrc_search", options={"arch_lr": 0.8, "entropy": [0.0, 0.5]})
    trainer = trainer_of(folder, rooms, "fixed", method=method, tasks=("semseg", "depth"))
    trainer.stop = lambda: trainer.step == stop
    trainer.train()
    return trainer


def test_a_search_decides_and_goes_on_after_an_interruption(tmp_path: Path, rooms: Dataset) -> None:
    whole = searched(tmp_path / "whole", rooms).network
    with pytest.raises(Interrupted):
        searched(tmp_path / "cut", rooms, stop=4)
    resumed = searched(tmp_path / "cut", rooms).network
    assert isinstance(whole, ATRCSearch)
    assert isinstance(resumed, ATRCSearch)
    state = whole.state_dict()
    assert any(name.endswith("fixed_weights") for name in state)
    assert resumed.state_dict().keys() == state.keys()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert whole.findings() == resumed.findings()
    assert whole.findings()["genotype"]["step"] == 6
    assert all(p.abs().max() > 0 for n, p in whole.named_parameters() if n.endswith("arch_param"))

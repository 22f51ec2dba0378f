"""Files of trained weights hold what was trained; what was frozen comes again, and must be the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_PLUGINS
from rich.console import Console

from mtlbench import checkpoint
from mtlbench.building import build_network, rebuild_network
from mtlbench.cell import run_cell
from mtlbench.errors import MtlbenchError
from mtlbench.evaluate_command import evaluate
from mtlbench.executors.base import EXIT_DONE
from mtlbench.folder import Job, RunFolder
from mtlbench.frozen import final_weights, frozen_checksums, load_trained, read_tuned, trained_state
from mtlbench.model import Method
from mtlbench.profiling.networks import tasks_of
from mtlbench.registry import Registry, registry
from mtlbench.spec import Cell, Choice, Recipe, Start
from mtlbench.starting import start_from

pytestmark = pytest.mark.usefixtures("undisturbed")


def make_cell(tuning: str = "decoder", **changes: Any) -> Cell:
    cell = Cell(
        dataset=Choice(name="tiny"),
        tasks=("semseg", "depth"),
        backbone=Choice(name="tiny"),
        method=Choice(name="multi_task"),
        balancer=Choice(name="equal"),
        tuning=Choice(name=tuning),
        recipe=Recipe(iterations=2, batch_size=4),
    )
    return cell.model_copy(update=changes)


def built(cell: Cell) -> Method:
    return build_network(cell, tasks_of(cell))


def trained(cell: Cell) -> Method:
    """Every number that trains, and every statistic, is another than initially."""
    network = built(cell)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(parameter.requires_grad)
        for name, buffer in network.named_buffers():
            buffer.add_(1 if "num_batches" in name else 0.5)
    return network


def run(cell: Cell, runs: Path) -> RunFolder:
    folder = RunFolder(runs / cell.id)
    assert run_cell(Job(cell=cell, folder=folder.path, plugins=(str(TINY_PLUGINS),))) == EXIT_DONE
    return folder


def content_of(path: Path) -> dict[str, Any]:
    content = checkpoint.load(path)
    assert content is not None
    return content


def same(network: Method, other: Method) -> bool:
    mine, theirs = network.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("tuning", ["decoder", "bitfit", "lora"])
def test_frozen_weights_are_in_no_file_of_a_cell(tuning: str, tmp_path: Path) -> None:
    cell = make_cell(tuning)
    network = built(cell)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen
    folder = run(cell, tmp_path)
    for path in (folder.checkpoint, folder.weights):
        content = content_of(path)
        assert set(content["frozen"]) == frozen
        assert set(content["network"]) == set(network.state_dict()) - frozen


def test_full_training_keeps_everything(tmp_path: Path) -> None:
    folder = run(make_cell("full"), tmp_path)
    assert set(content_of(folder.weights)["network"]) == set(built(make_cell("full")).state_dict())
    assert read_tuned(str(folder.weights)) is None


def test_what_trains_again_is_kept(tiny_registry: Registry) -> None:
    network = built(make_cell())
    frozen = frozen_checksums(network)
    name = next(iter(frozen))
    network.get_parameter(name).requires_grad_(True)
    assert set(network.state_dict()) - set(trained_state(network, frozen)) == set(frozen) - {name}


@pytest.mark.parametrize("tuning", ["decoder", "lora"])
def test_the_network_is_made_again(tuning: str, tmp_path: Path, tiny_registry: Registry) -> None:
    cell = make_cell(tuning)
    network = trained(cell)
    checkpoint.save(tmp_path / "w.pt", final_weights(network, cell, frozen_checksums(built(cell))))
    content = read_tuned(str(tmp_path / "w.pt"))
    assert content is not None
    assert same(rebuild_network(content, tasks_of(cell), "w.pt"), network)


def test_another_base_is_noticed(tiny_registry: Registry) -> None:
    cell = make_cell()
    network, other = trained(cell), built(cell)
    content = final_weights(network, cell, frozen_checksums(built(cell)))
    name = next(iter(content["frozen"]))
    with torch.no_grad():
        other.get_parameter(name).view(-1)[0] += 1e-6
    with pytest.raises(MtlbenchError, match=rf"w.pt holds what was .* 1 of \d+ .* `{name}` is the first"):
        load_trained(other, content["network"], content["frozen"], "w.pt")


def test_a_checkpoint_on_another_base_is_not_gone_on_from(tmp_path: Path) -> None:
    folder = run(make_cell(), tmp_path)
    content = content_of(folder.checkpoint)
    other = built(make_cell(seed=1))
    with pytest.raises(MtlbenchError, match="which has to be what it was"):
        load_trained(other, content["network"], content["frozen"], folder.checkpoint)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_cell_that_starts_from_another_gets_all_weights(damaged: bool, tmp_path: Path) -> None:
    """Of three cells the second is frozen in weights that the first trained, which its seed does not give."""
    first = make_cell("full")
    second = make_cell("full", start=Start(cell=first, trains="decoder"))
    ends = [run(first, tmp_path), run(second, tmp_path)]
    trunk = {n: v for n, v in content_of(ends[0].weights)["network"].items() if n.startswith("backbone.")}
    checkpointed = content_of(ends[1].checkpoint)
    assert not any(p in checkpointed["network"] for p in checkpointed["frozen"])
    final = content_of(ends[1].weights)["network"]
    if damaged:
        ends[1].weights.write_bytes(b"no archive")
    third = built(make_cell("full", seed=3))
    start_from(third, Start(cell=second), ends[1])
    parameters = dict(third.named_parameters())
    assert all(torch.equal(parameters[name], trunk[name]) for name in trunk if name in parameters)
    assert all(torch.equal(third.state_dict()[name], value) for name, value in final.items())


def test_a_cell_that_starts_from_a_tuned_one(tmp_path: Path) -> None:
    base = make_cell("decoder")
    folder = run(base, tmp_path)
    network = built(make_cell("full", seed=3))
    start_from(network, Start(cell=base), folder)
    initial = dict(built(base).backbone.named_parameters())
    assert all(torch.equal(p, initial[name]) for name, p in network.backbone.named_parameters())


def test_tuned_weights_are_merged_into_a_plain_network(
    tmp_path: Path, tiny_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell("lora")
    network = trained(cell)
    path = tmp_path / "w.pt"
    checkpoint.save(path, final_weights(network, cell, frozen_checksums(built(cell))))
    method = Choice(name="multi_task", options={"weights": str(path)})
    plain = built(make_cell("full", seed=3, method=method))
    images = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        found, expected = (n.eval()(images).final["semseg"] for n in (plain, network))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    lora = registry.load("tuning", "lora")
    monkeypatch.setattr(lora, "merge", lambda tuning, network: "it has prompts")
    with pytest.raises(MtlbenchError, match="tuning lora, which can't be merged: it has prompts"):
        built(make_cell("full", seed=3, method=method))


@pytest.mark.parametrize("tuning", ["decoder", "lora"])
def test_a_tuned_network_is_evaluated(tuning: str, tmp_path: Path) -> None:
    folder = run(make_cell(tuning, seed=2), tmp_path)
    result = folder.result()
    assert result is not None

    def evaluated(method: str) -> Any:
        evaluate(
            Console(quiet=True),
            method=method,
            weights=str(folder.weights),
            backbone=None,
            method_options={},
            dataset="tiny",
            dataset_options={},
            tasks=None,
            batch_size=4,
            out=tmp_path / "scores.json",
            every_metric=False,
        )
        return json.loads((tmp_path / "scores.json").read_text())["scores"]

    assert evaluated("multi_task") == result.scores
    with pytest.raises(
        MtlbenchError, match=f"network of multi_task on tiny with {tuning}, not of degmix on tiny"
    ):
        evaluated("degmix")

"""Files of networks that hold more than a fresh network does."""

from pathlib import Path

import pytest
import torch
from mtlbench.methods.atrc.search import ATRCSearch, Candidates

from mtlbench.errors import MtlbenchError
from mtlbench.method_weights import load_method_weights
from mtlbench.testing import TinyBackbone, tiny_tasks

TASKS = {name: tiny_tasks()[name] for name in ("semseg", "normals")}
PAIR = "contexts.semseg.normals"


def search() -> ATRCSearch:
    return ATRCSearch(TinyBackbone(), TASKS)


def frozen(network: ATRCSearch) -> int | None:
    pair = network.get_submodule(PAIR)
    assert isinstance(pair, Candidates)
    return pair.frozen


@pytest.mark.parametrize("published", [False, True])
def test_a_search_that_has_decided_can_be_loaded(published: bool, tmp_path: Path) -> None:
    source, target = search(), search()
    state = source.state_dict()
    state[f"{PAIR}.fixed_weights"] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    if published:
        name = "head.atrc_module.cp_blocks.semseg.normals.fixed_weights"
        state[name] = state.pop(f"{PAIR}.fixed_weights")
    torch.save({"network": state}, tmp_path / "search.pt")
    load_method_weights(target, str(tmp_path / "search.pt"))
    assert frozen(target) == 2
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_unknown_entries_are_still_named(tmp_path: Path) -> None:
    state = search().state_dict() | {f"{PAIR}.fixed": torch.zeros(5)}
    torch.save(state, tmp_path / "search.pt")
    with pytest.raises(MtlbenchError, match=r"1 entries differ:\n  contexts\.semseg\.normals\.fixed: \(5,\)"):
        load_method_weights(search(), str(tmp_path / "search.pt"))

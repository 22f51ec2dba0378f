"""MulT: conformance, whose attention serves whom, the reference task."""

from typing import Any

import pytest
import torch
from mtlbench.methods.mult import MulT
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL: dict[str, Any] = {"depth": 1, "head_width": 4, "window": 3}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("method", "options"), [pytest.param(MulT, SMALL, id="mult")])
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


def changed_by(network: MulT, weight: Tensor) -> list[str]:
    """The tasks whose predictions change with a weight."""
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images).final
        weight.mul_(3.0)
        after = network(images).final
    return [t for t in before if not torch.allclose(before[t], after[t], atol=1e-6)]


def test_one_attention_serves_all_tasks() -> None:
    torch.manual_seed(0)
    network = MulT(TinyBackbone(), tiny_tasks(), reference="normals", window=3, head_width=4).eval()
    block = network.stages[3].blocks[1]
    assert changed_by(network, block.to_qk.weight) == list(tiny_tasks())
    assert changed_by(network, block.to_v["edge"].weight) == ["edge"]
    assert changed_by(network, network.stages[0].blocks[0].to_v["normals"].weight) == list(tiny_tasks())


def test_reference() -> None:
    tasks = tiny_tasks()
    assert MulT(TinyBackbone(), tasks, **SMALL).reference == "depth"
    assert MulT(TinyBackbone(), {"edge": tasks["edge"]}, **SMALL).reference == "edge"
    with pytest.raises(MtlbenchError, match=r"`reference` of mult: .*`depht`.*did you mean `depth`"):
        MulT(TinyBackbone(), tasks, reference="depht", **SMALL)


def test_heads_divide_the_width() -> None:
    network = MulT(TinyBackbone((18, 36, 72, 144)), tiny_tasks(), depth=1)
    assert [stage.blocks[0].heads for stage in network.stages] == [4, 2, 1, 1]

"""MTLSI-Net: conformance, linear attention against its definition, what it never makes."""

from typing import Any

import pytest
import torch
from inter_task_maps import random_maps
from mtlbench.methods.layers.shared_context import SharedContext
from mtlbench.methods.mtlsi_net import MTLSINet

from mtlbench.errors import MtlbenchError
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks
from mtlbench.testing.watching import LargestTensor

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "tokens": 6, "window": 3}


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("method", "options"), [pytest.param(MTLSINet, SMALL, id="mtlsi_net")])
def test_conformance(method: Any, options: dict[str, Any], check: Any) -> None:
    check(method, **options)


@torch.no_grad()
def test_the_shared_context_is_attention_without_a_softmax() -> None:
    """Each query's weights are its products with all tasks' keys, over their sum."""
    torch.manual_seed(0)
    layer = SharedContext(8, 1, (1,))
    maps = random_maps(("depth", "edge"), (4, 5), 8)
    tokens = torch.cat([x.flatten(1, 2) for x in maps.values()], dim=1)[0]
    k, v = layer.to_kv(tokens).chunk(2, dim=-1)
    asking = layer.around[0](maps["edge"].movedim(-1, 1)).movedim(1, -1)[0].flatten(0, 1)
    products = layer.to_q(asking).relu() @ k.relu().T
    expected = layer.proj(products / products.sum(1, keepdim=True) @ v)
    torch.testing.assert_close(layer(maps)["edge"].view(20, 8), expected, atol=1e-4, rtol=1e-4)


def test_queries_that_meet_no_key_get_a_finite_answer() -> None:
    layer = SharedContext(4, 2, (1, 3))
    with torch.no_grad():
        layer.to_q.weight.zero_()
        layer.to_q.bias.fill_(-1.0)
    assert all(x.isfinite().all() for x in layer(random_maps(("depth",), (3, 3), 4)).values())


def test_no_tensor_of_all_pairs_of_tokens() -> None:
    network = MTLSINet(TinyBackbone(), tiny_tasks(), **SMALL)
    tokens = 4 * 32 * 32
    with LargestTensor() as largest:
        network(torch.randn(1, 3, 256, 256))
    assert 0 < largest.elements < tokens**2 / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (1, 2)}, r"`scales` .* odd"),
        ({"scales": ()}, "`scales`"),
        ({"tokens": 0}, "`tokens`"),
        ({"dim": 10, "heads": 4}, "multiple of `heads`"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        MTLSINet(TinyBackbone(), tiny_tasks(), **options)

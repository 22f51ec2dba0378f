"""InvPT++ (our reading): its default is InvPT; what selective attention takes."""

from functools import partial
from typing import Any

import pytest
import torch
from golden_cases import parameters
from mtlbench.methods.invpt import InvPT
from mtlbench.methods.invpt_pp import InvPTPlusPlus
from mtlbench.methods.layers.selective_attention import SelectiveAttention

from mtlbench.errors import MtlbenchError
from mtlbench.testing import METHOD_CHECKS, TinyBackbone, tiny_tasks

SMALL: dict[str, Any] = {"embed_dim": 12, "extra_channels": 4}
Plain = partial(TinyBackbone, (8, 8, 8, 8), strides=(16,) * 4)


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_conformance_of_selective_attention(check: Any) -> None:
    check(InvPTPlusPlus, attention="selective", **SMALL)


@pytest.mark.parametrize("variant", ["corrected", "published"])
@pytest.mark.parametrize("backbone", [TinyBackbone, Plain])
def test_fusion_is_invpt(backbone: Any, variant: Any) -> None:
    """In training mode, to the last bit, from the same seed."""
    predictions = []
    for method in (InvPT, InvPTPlusPlus):
        torch.manual_seed(0)
        network = method(backbone(), tiny_tasks(), variant=variant, **SMALL)
        outputs = network(torch.randn(2, 3, 64, 96))
        predictions.append([*outputs.final.values(), *outputs.auxiliary["inter_preds"].values()])
    assert all(torch.equal(a, b) for a, b in zip(*predictions, strict=True))


def test_selective_attention_fuses_nothing() -> None:
    """Two 1x1 convolutions from 4 to 2 heads are gone, all else is there."""
    networks = [InvPTPlusPlus(Plain(), tiny_tasks(), attention=a, **SMALL) for a in ("fusion", "selective")]
    assert parameters(networks[0]) - parameters(networks[1]) == 2 * (4 * 2 + 2)


@pytest.mark.parametrize(("keep", "per_task", "kept"), [(0.5, False, [2, 3, 5]), (0.3, True, [2, 3])])
def test_selective_attention_takes_what_was_attended_to(keep: float, per_task: bool, kept: list[int]) -> None:
    """Two tasks with three cells each: what was asked prefers cells 3, 5 and 2, in this order."""
    torch.manual_seed(0)
    attention = SelectiveAttention("ab", 4, 1, window=4, keep=keep, per_task=per_task)
    message = torch.zeros(1, 1, 2, 1, 1, 6)
    message[0, 0, 0, 0, 0] = torch.tensor([1.0, 0.5, 2.0, 4.0, 0.0, 3.0])
    x = torch.randn(2, 1, 4, 12, 4)
    y, found = attention(x, message)
    q, _ = attention._ask(x)
    tokens = []
    for cell in kept:
        task, column = divmod(cell, 3)
        window = x[task, 0, :, 4 * column : 4 * column + 4]
        tokens += [window[r : r + 2, c : c + 2].mean((0, 1)) for r in (0, 2) for c in (0, 2)]
    k, v = attention.proj_k(torch.stack(tokens)), attention.proj_v(torch.stack(tokens))
    logits = q[0, 0] @ k.T
    expected = attention._read(logits[None, None], v[None, None], (2, 2, 6), (4, 12))
    torch.testing.assert_close(y, expected)
    coarse = logits.unflatten(-1, (-1, 4)).mean(-1)
    every = coarse.min(-1, keepdim=True).values.repeat(1, 6)
    every[:, kept] = coarse
    torch.testing.assert_close(found.view(-1, 6), every)


def test_each_image_has_its_own_choice() -> None:
    torch.manual_seed(0)
    attention = SelectiveAttention("ab", 4, 2, window=4, keep=0.5, per_task=False)
    message = torch.randn(3, 2, 2, 1, 1, 6)
    x = torch.randn(2, 3, 4, 12, 4)
    attention.eval()
    together = attention(x, message)[0]
    for i in range(3):
        torch.testing.assert_close(attention(x[:, i : i + 1], message[i : i + 1])[0], together[:, i : i + 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "both"}, "`attention` of invpt_pp must be `fusion` or `selective`, got 'both'"),
        ({"keep": 0}, r"`keep` of invpt_pp must be in \(0, 1\], got 0"),
        ({"keep": 1.5}, "`keep` of invpt_pp"),
        ({"embed_dim": 0}, "`embed_dim` of"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        InvPTPlusPlus(TinyBackbone(), tiny_tasks(), **(SMALL | options))

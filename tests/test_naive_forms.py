"""The plain forms that benchmarks time compute the same numbers, and the same gradients, as our networks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from naive import NAIVE
from tiny_resnet import TinyResNet
from tiny_transformers import swin, vit
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.registry import registry
from mtlbench.testing.methods import TinyBackbone, tiny_tasks

KINDS = ("global", "local", "t-label", "s-label")
GENOTYPE = {
    target: {source: KINDS[(i + j) % 4] for j, source in enumerate(tiny_tasks())}
    for i, target in enumerate(tiny_tasks())
}
STILL = {"drop_path": 0.0, "cross_drop_path": 0.0, "cross_dropout": 0.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "multi_task": {},
    "pad_net": {"variant": "published", "channels": 8},
    "mti_net": {"variant": "published"},
    "atrc": {"variant": "published", "genotype": GENOTYPE, "dropout": 0.0},
    "mqtransformer": {"variant": "published", "dim": 8, "heads": 2, "tokens": 3, "channels": 4, **STILL},
    "demt": {"variant": "published", "dim": 8, "heads": 2, "depth": 2},
    "degmix": {"variant": "published", "dim": 8, "heads": 2},
    "invpt": {"variant": "published", "embed_dim": 12, "extra_channels": 4},
    "cross_stitch": {"variant": "published"},
    "nddr_cnn": {"variant": "published"},
    "mtan": {},
    "mtan_segnet": {"variant": "published", "widths": (4, 4, 4, 8, 8)},
    "segnet": {"variant": "published", "widths": (4, 4, 4, 8, 8)},
    "mtmamba": {"states": 4, "drop_path": 0.0},
    "mtmamba_plus": {"states": 4, "drop_path": 0.0, "head_channels": 6},
    "mtformer": {"variant": "published", "dim": 8, "heads": 2, "window": 3},
    "taskprompter": {"variant": "published", "input_size": (64, 96), "embed_dim": 6, "final_dim": 8},
    "taskprompter on Swin": {"channel_dim": 16},
    "mult": {"head_width": 4, "window": 3},
    "pap": {"channels": 16},
    "psd": {"channels": 6, "window": 3},
}

COARSE = partial(TinyBackbone, strides=(8, 16, 32, 64))  # where the plain form takes every step by itself
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "mtan": TinyResNet,
    "mtmamba": COARSE,
    "mtmamba_plus": COARSE,
    "taskprompter": vit,
    "taskprompter on Swin": swin,
}
NAMES = (*NAIVE, "taskprompter on Swin")
ODD = (53, 71)
SIZES = {"taskprompter": (64, 96)}
"""Of images, where the published network takes no odd ones."""


def pair(name: str) -> tuple[Method, Any]:
    """A network whose parameters are all off their initial values, and its naive form."""
    torch.manual_seed(0)
    backbone, method = BACKBONES.get(name, TinyBackbone)(), name.split()[0]
    network = registry.load("method", method)(backbone, tiny_tasks(), **OPTIONS[method] | OPTIONS[name])
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network, NAIVE[method](network)


def images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def named(outputs: Outputs) -> dict[str, Tensor]:
    auxiliary = {f"{e}.{t}": x for e, values in outputs.auxiliary.items() for t, x in values.items()}
    return {**outputs.final, **auxiliary}


def assert_near(found: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    """Relative to the largest value."""
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference <= tolerance, f"{name}: {difference:.1e} apart"


@pytest.mark.parametrize("name", NAMES)
def test_same_outputs(name: str) -> None:
    """In evaluation, of images of an odd size where the network takes them."""
    network, naive = pair(name)
    naive.eval()
    with torch.no_grad():
        found, expected = (named(form(images(*SIZES.get(name.split()[0], ODD)))) for form in (naive, network))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert_near(found[key], value, 1e-4, key)


@pytest.mark.parametrize("name", NAMES)
def test_same_gradients(name: str) -> None:
    """In training mode: of all parameters, relative to the largest gradient of any.

    Rounding moves a few values across the corners of ReLUs: gradients differ by more than outputs do.
    """
    network, naive = pair(name)
    parameters = dict(network.named_parameters())
    ours, theirs = (gradients(form, parameters) for form in (network, naive))
    assert set(theirs) == set(ours)
    assert len(ours) > len(parameters) / 2
    largest = max(value.abs().max() for value in ours.values())
    for key, value in ours.items():
        difference = (theirs[key] - value).abs().max() / largest
        assert difference <= 5e-3, f"{key}: {difference:.1e} apart"


def gradients(form: Any, parameters: dict[str, Any]) -> dict[str, Tensor]:
    """Of one number that depends on all outputs, for all parameters that it depends on."""
    outputs = named(form.train()(images(64, 96)))
    loss = torch.stack([x.sin().mean() for x in outputs.values()]).sum()
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}

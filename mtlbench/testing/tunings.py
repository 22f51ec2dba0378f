"""What every tuning must do, whoever wrote it.

Each check takes a `Tuning` class and its options, and tunes a small network that has what tunings look for:
convolutions, batch and layer norms, attention, dropout. `method` is another class of networks to tune;
`backbone` makes another backbone, such as `tiny_swin` or `tiny_vit` for a tuning of their blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.swin import Swin, Taps
from mtlbench.backbones.timm_features import TimmSwin
from mtlbench.backbones.vit_timm import TimmViT
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.optimization import make_optimizer
from mtlbench.profiling import count_network
from mtlbench.resizing import resize
from mtlbench.spec import Recipe
from mtlbench.tasks import Tasks
from mtlbench.testing.methods import tiny_tasks
from mtlbench.tuning import Tuning

SIZE = (32, 48)
STEPS = 3
"""Of training: what starts at zero may block other gradients in the first ones."""
MERGED = 1e-5
"""Largest difference that merging may make, of the largest prediction."""
RECIPE = Recipe(lr=0.05, weight_decay=0.0, momentum=0.9)

TuningClass = Callable[..., Tuning]
MethodClass = Callable[..., Method]
MakeBackbone = Callable[[], Backbone]


class TinyAttention(nn.Module):
    """Attention with a bias for each pair of tokens' offset along one axis, and an MLP."""

    def __init__(self, dim: int, tokens: int = 64) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 2 * dim), "fc2": nn.Linear(2 * dim, dim)})
        self.relative_position_bias_table = nn.Parameter(0.1 * torch.randn(2 * tokens))
        self.tokens = tokens
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        place = torch.arange(x.shape[1], device=x.device)
        bias = self.relative_position_bias_table[place[:, None] - place + self.tokens]  # (N, N)
        q, k, v = self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1)
        attended = (q @ k.transpose(1, 2) * x.shape[-1] ** -0.5 + bias).softmax(-1) @ v
        x = x + self.drop(self.attn["proj"](attended))
        return x + self.drop(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))


class TinyHybrid(Backbone):
    """Four maps, at strides 4 to 32: convolutions with batch norm, on the last map attention."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = [8, 8, 8, 8]
        steps = [(3, 8, 4), (8, 8, 2), (8, 8, 2), (8, 8, 2)]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False) for i, o, s in steps)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in self.channels)
        self.block = TinyAttention(8)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, x = [], images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.gelu(norm(conv(x)))
            maps.append(x)
        tokens = self.block(x.flatten(2).transpose(1, 2))
        return [*maps[:-1], tokens.transpose(1, 2).reshape(x.shape)]


def tiny_swin(*, taps: Taps = "before_merging") -> Swin:
    """A Swin of five blocks, of width 8 and with windows of 2x2 tokens, which it shifts on any map."""
    trunk = SwinTransformer(
        img_size=32,
        num_classes=0,
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 2, 2, 2),
        window_size=2,
        strict_img_size=False,
        always_partition=True,
    )
    return Swin(_larger(trunk), taps=taps)


def tiny_timm_swin() -> TimmSwin:
    """The same blocks in timm's own Swin."""
    trunk = timm.create_model(
        "swin_tiny_patch4_window7_224",
        features_only=True,
        img_size=64,
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 2, 2, 2),
        window_size=2,
        strict_img_size=False,
    )
    return TimmSwin(_larger(trunk), multiple=32)


def tiny_vit() -> TimmViT:
    """A ViT of five blocks and width 16, its patches 8x8; the first map is of the second block."""
    trunk = VisionTransformer(
        img_size=32, patch_size=8, num_classes=0, embed_dim=16, depth=5, num_heads=2, drop_path_rate=0.1
    )
    return TimmViT(_larger(trunk), (1, 2, 3, 4))


def _larger(trunk: nn.Module) -> nn.Module:
    """With weights that suit its width: timm's are for widths of hundreds, and leave small gradients here."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return trunk


class TinyHeads(Method):
    """A shared convolution of all maps, then one for each task."""

    def __init__(self, backbone: Backbone, tasks: Tasks) -> None:
        super().__init__(backbone, tasks)
        self.mix = nn.Conv2d(sum(backbone.channels), 8, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.heads = nn.ModuleDict({name: nn.Conv2d(8, task.channels, 1) for name, task in tasks.items()})

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        finest = (features[0].shape[-2], features[0].shape[-1])
        x = self.mix(torch.cat([resize(f, finest) for f in features], dim=1))
        x = F.gelu(self.norm(x))
        return Outputs({name: resize(head(x), size) for name, head in self.heads.items()})


class NoBackbone(Method):
    """One trained number for each channel."""

    needs_backbone = False

    def __init__(self, backbone: None, tasks: Tasks) -> None:
        super().__init__(backbone, tasks)  # type: ignore[arg-type]  # there is none
        self.logits = nn.ParameterDict({name: torch.zeros(task.channels) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> Outputs:
        size = (len(images), -1, *images.shape[-2:])
        return Outputs({name: x[None, :, None, None].expand(size) for name, x in self.logits.items()})


def check_tuning(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """All checks, one after the other."""
    for check in TUNING_CHECKS:
        check(tuning, method, backbone, **options)


def check_predictions(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """All tasks at image size, finite; without training the same as untuned, unless the class denies it."""
    images = _images()
    untuned, tuned = _build(None, method, backbone), _build(tuning(**options), method, backbone)
    expected, found = _predict(untuned, images), _predict(tuned, images)
    assert list(found) == list(expected), f"predictions of {list(found)}, tasks {list(expected)}"
    for name, value in found.items():
        assert value.shape == expected[name].shape, f"{name}: {tuple(value.shape)}"
        assert value.isfinite().all(), f"{name}: not finite"
        if tuning(**options).starts_equal:
            difference = (value - expected[name]).abs().max().item()
            assert difference <= 1e-5, f"{name}: differs by {difference:.2g} from the untuned prediction"


def check_initial_weights(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """All initial weights are those of the untuned network with the same seed; its decoder's by their names,
    its backbone's perhaps under others.
    """
    untuned, tuned = _build(None, method, backbone), _build(tuning(**options), method, backbone)
    theirs = dict(tuned.named_parameters())
    for name, value in untuned.named_parameters():
        if not name.startswith("backbone."):
            assert name in theirs, f"the decoder lost `{name}`"
            assert torch.equal(theirs[name], value), f"`{name}` starts otherwise than untuned"
        elif tuning(**options).starts_equal:
            same = any(value.shape == v.shape and torch.equal(value, v) for v in theirs.values())
            assert same, f"nothing starts with the weights of `{name}`"


def check_training(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """What trains gets a gradient and moves, the rest has none and stays; the optimizer holds the former.

    The decoder trains whole: tunings are about the backbone.
    """
    network = _build(tuning(**options), method, backbone)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = make_optimizer(network, RECIPE)
    _train(network, optimizer, range(STEPS))
    held = {p for group in optimizer.param_groups for p in group["params"]}
    after = dict(network.named_parameters())
    assert after.keys() == before.keys(), "training changed which parameters there are"
    for name, p in after.items():
        trains = p.requires_grad
        assert trains or name.startswith("backbone."), f"`{name}` of the decoder does not train"
        assert (p.grad is not None) == trains, f"`{name}` {'lacks' if trains else 'has'} a gradient"
        assert torch.equal(p, before[name]) != trains, f"`{name}` {'stayed' if trains else 'moved'}"
        assert (p in held) == trains, f"`{name}` is {'not ' if trains else ''}in the optimizer"


def check_modes(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """`eval` reaches every module, `train` the decoder; each brings back the modes that it set before."""
    network = _build(tuning(**options), method, backbone)
    keys = list(network.state_dict())
    first = _modes(network.train())
    evaluating = [name for name, training in _modes(network.eval()).items() if training]
    assert not evaluating, f"in evaluation these still train: {evaluating}"
    assert _modes(network.train()) == first, "training mode differs after evaluation"
    untouched = [name for name, training in first.items() if not (training or name.startswith("backbone"))]
    assert not untouched, f"in training these modules of the decoder evaluate: {untouched}"
    assert list(network.state_dict()) == keys, "modes change the keys of the state dict"
    images = _images()
    found, again = _predict(network, images), _predict(network, images)
    assert all(torch.equal(found[name], again[name]) for name in found), "evaluation depends on chance"


def check_resume(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """Stopped and continued by another process, training ends with the same numbers, bit for bit."""
    straight = _build(tuning(**options), method, backbone)
    _train(straight, make_optimizer(straight, RECIPE), range(2 * STEPS))
    first = _build(tuning(**options), method, backbone)
    optimizer = make_optimizer(first, RECIPE)
    _train(first, optimizer, range(STEPS))
    second = _build(tuning(**options), method, backbone)
    resumed = make_optimizer(second, RECIPE)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    _train(second, resumed, range(STEPS, 2 * STEPS))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), f"`{name}` differs after a stop"


def check_meta(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """Applied to a network without memory, as before a grid starts, it makes the same parameters."""
    with torch.device("meta"):
        shapes = _shapes(_build(tuning(**options), method, backbone))
    assert shapes == _shapes(_build(tuning(**options), method, backbone)), (
        "on the meta device other shapes are made"
    )


def check_costs(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """Counters see through it: what trains, and at least the products of the untuned network."""
    untuned, network = _build(None, method, backbone), _build(tuning(**options), method, backbone)
    counts, least = count_network(network, SIZE), count_network(untuned, SIZE)
    assert 0 < counts.trainable <= counts.parameters
    assert counts.macs >= least.macs, f"{counts.macs} MACs, untuned {least.macs}"
    assert counts.module_macs >= least.module_macs, f"{counts.module_macs} module MACs"


def check_merging(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """Merged, a trained network predicts what it did, with the parameters and products of the untuned one;
    one that can't be merged stays as it is.
    """
    untuned, tuned = _build(None, method, backbone), _build(tuning(**options), method, backbone)
    _train(tuned, make_optimizer(tuned, RECIPE), range(STEPS))
    expected, names = _predict(tuned, _images()), list(tuned.state_dict())
    reason = tuning(**options).merge(tuned)
    found = _predict(tuned, _images())
    for name, value in found.items():
        difference = (value - expected[name]).abs().max() / expected[name].abs().max()
        assert difference <= MERGED, f"{name}: merging changes predictions by {difference:.2g} of the largest"
    if reason is not None:
        assert reason, "a tuning that can't be merged says why"
        assert list(tuned.state_dict()) == names, f"it can't be merged ({reason}), but is changed"
        return
    assert list(tuned.state_dict()) == list(untuned.state_dict()), "merged, it has entries of the tuning"
    counts, usual = count_network(tuned, SIZE), count_network(untuned, SIZE)
    assert counts.parameters == usual.parameters, f"merged, it has {counts.parameters} parameters"
    assert counts.macs == usual.macs, f"merged, it does {counts.macs} MACs, untuned {usual.macs}"


def check_without_backbone(
    tuning: TuningClass, method: MethodClass = TinyHeads, backbone: MakeBackbone = TinyHybrid, **options: Any
) -> None:
    """A network that has no backbone trains whole, or is refused by an `MtlbenchError`."""
    try:
        network = tuning(**options).apply(NoBackbone(None, tiny_tasks()))
    except MtlbenchError:
        return
    assert all(p.requires_grad for p in network.parameters()), "a network that has no backbone is frozen"


TUNING_CHECKS = (
    check_predictions,
    check_initial_weights,
    check_training,
    check_modes,
    check_resume,
    check_meta,
    check_costs,
    check_merging,
    check_without_backbone,
)


def _build(tuning: Tuning | None, method: MethodClass, backbone: MakeBackbone) -> Method:
    """A network, tuned or not, always from the same seed; its batch norms have seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method(backbone(), tiny_tasks())
        for name, statistics in network.named_buffers():
            if name.endswith("running_mean"):
                nn.init.normal_(statistics, std=0.1)
            elif name.endswith("running_var"):
                nn.init.uniform_(statistics, 0.5, 1.5)
        return network if tuning is None else tuning.apply(network)


def _images(step: int = 0) -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(step))


def _predict(network: Method, images: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return network.eval()(images).final


def _train(network: Method, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Make these steps; what is drawn at random in one depends on its number only. Gradients stay."""
    network.train()
    for step in steps:
        optimizer.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            final = network(_images(step)).final
        torch.stack([(value - 1).square().mean() for value in final.values()]).sum().backward()
        optimizer.step()


def _modes(network: Method) -> dict[str, bool]:
    return {name: module.training for name, module in network.named_modules()}


def _shapes(network: Method) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Name -> shape, and whether it trains."""
    return {name: (tuple(p.shape), p.requires_grad) for name, p in network.named_parameters()}

"""Where MTLoRA and DITASK put their layers, and what else of the backbone trains: the same in both.

Layers stand in place of qkv, proj, fc1 and fc2 of every block. The last block before each map opens a stream
for each task: behind its attention proj gives the shared output and each task's own, fc1 and fc2 carry on
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, Protocol

from torch import nn

from mtlbench.backbones.swin import Swin
from mtlbench.backbones.timm_features import TimmSwin
from mtlbench.backbones.vit import PlainViT
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.registry import unknown

from .own_maps import check_shared
from .replacing import put
from .streams import Flow, StreamBlock, StreamLinear, TaskStreams, open_streams

Part = Literal["norms", "patch_embed", "positions", "reduction"]
Variant = Literal["corrected", "published"]
VARIANTS = ("corrected", "published")
PARTS: dict[Part, tuple[str, ...]] = {
    "norms": ("norm",),
    "patch_embed": ("patch_embed",),
    "positions": ("relative_position_bias_table", "pos_embed"),
    "reduction": ("downsample.reduction",),
}
"""What trains beside the layers -> words in the names of its parameters."""
BLOCK_LAYERS: dict[str, Flow] = {
    "attn.qkv": "shared",
    "attn.proj": "opens",
    "mlp.fc1": "carries",
    "mlp.fc2": "carries",
}
"""Linear layers of a block -> what they do with streams in the last block before a map."""
REDUCTION = "downsample.reduction"
BLOCKS = (
    "the backbone must be one of swin-t, swin-s, swin-b, swin-l, swin-l-384, vit-b, vit-l, vit-b-384, "
    "vit-l-384, or a Swin of timm's (of the first version)"
)


class MakeLayer(Protocol):
    """A layer in place of a linear one, by the stage and what it is called in the block (or stage).

    `tasks`: it has updates of each task; qkv and patch merging never do.
    """

    def __call__(
        self, linear: nn.Linear, stage: int, flow: Flow, *, tasks: bool, name: str
    ) -> StreamLinear: ...


def place(network: Method, make: MakeLayer, *, stages: Sequence[bool], tasks: bool, merging: bool) -> None:
    """Replace layers of a network's backbone, and the backbone itself where tasks have streams.

    Args:
        network: with a Swin or plain ViT.
        make: see `MakeLayer`.
        stages: which of them get layers at all.
        tasks: whether the last block before each map opens streams.
        merging: patch merging gets layers as well, without tasks.

    Raises:
        MtlbenchError: `merging`, but the backbone has none; or tasks can't have maps of their own
            (`check_shared`).
    """
    backbone: Any = network.backbone
    if merging and not isinstance(backbone, Swin | TimmSwin):
        raise MtlbenchError("layers in patch merging need a backbone that merges patches, a Swin")
    for i, blocks in enumerate(blocks_by_stage(network)):
        for block in blocks if stages[i] else ():
            last = tasks and block == blocks[-1]
            for name, flow in BLOCK_LAYERS.items():
                own = last and flow != "shared"
                _wrap(backbone.get_submodule(block), name, make, i, flow if last else "shared", own)
            if last and isinstance(backbone, PlainViT):
                put(backbone, block, StreamBlock(backbone.get_submodule(block)))
            if last and isinstance(backbone, TimmSwin):
                open_streams(backbone.get_submodule(block))
        if merging and stages[i] and i + 1 < len(backbone.channels):
            _wrap(backbone.layers[i + 1], REDUCTION, make, i, "shared", False)
    if tasks:
        check_shared(network)
        network.backbone = TaskStreams(backbone, tuple(network.tasks))


def _wrap(around: nn.Module, name: str, make: MakeLayer, stage: int, flow: Flow, tasks: bool) -> None:
    linear = around.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    put(around, name, make(linear, stage, flow, tasks=tasks, name=name))


def blocks_by_stage(network: Method) -> list[list[str]]:
    """Names of the blocks before each map and after the last one's.

    Raises:
        MtlbenchError: the backbone is neither a Swin nor a plain ViT, or there are several.
    """
    backbone = network.backbone
    if isinstance(backbone, Swin | TimmSwin):
        names = {module: name for name, module in backbone.named_modules()}
        return [[names[block] for block in stage.blocks] for stage in backbone.layers]
    if isinstance(backbone, PlainViT):
        starts = (0, *(tap + 1 for tap in backbone.taps))
        return [[f"blocks.{j}" for j in range(*ends)] for ends in pairwise(starts)]
    check_shared(network)
    raise MtlbenchError(
        f"streams of tasks need the blocks of a Swin or ViT: {BLOCKS}, got a {type(backbone).__name__}"
    )


def choose_trained(network: Method, frozen: Sequence[Part]) -> None:
    """Of the backbone only norms, patch embedding, positions, patch merging train, but for the `frozen`."""
    words = [word for part, words in PARTS.items() if part not in frozen for word in words]
    for name, parameter in network.backbone.named_parameters():
        parameter.requires_grad_(any(word in name for word in words))


def freeze_unread(network: Method, words: Sequence[str]) -> None:
    """In the last block of all what only the shared stream gets, which ends there and no map is made of.

    Args:
        network: after `place` with streams of tasks.
        words: one of them is in the name of each such parameter.
    """
    trunk: Any = network.backbone.trunk
    last = trunk.layers[-1].blocks[-1] if isinstance(trunk, Swin | TimmSwin) else trunk.blocks[trunk.taps[-1]]
    for name, parameter in last.named_parameters():
        if any(word in name for word in words):
            parameter.requires_grad_(False)


def merge(network: Method) -> str | None:
    """Put the layers' updates into the weights, where tasks have no streams; else say why that can't be."""
    backbone = network.backbone
    if isinstance(backbone, TaskStreams):
        return "each task has weights of its own in the last block before each map"
    for name, layer in list(layers_in(backbone)):
        put(backbone, name, layer.merged())
    return None


def layers_in(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and layers."""
    yield from ((n, part) for n, part in module.named_modules() if isinstance(part, StreamLinear))


def check_variant(variant: str) -> None:
    """Raises MtlbenchError for one that there is not."""
    if variant not in VARIANTS:
        raise MtlbenchError(unknown("`variant`", variant, VARIANTS))


def check_frozen(frozen: Sequence[str]) -> None:
    """Raises MtlbenchError for a name that stands for nothing."""
    for part in frozen:
        if part not in PARTS:
            raise MtlbenchError(unknown("`frozen`", part, list(PARTS)))


def check_dropout(rates: list[float]) -> list[float]:
    """Raises MtlbenchError for one that leaves nothing."""
    for rate in rates:
        if rate >= 1:
            raise MtlbenchError(f"`dropout` must be in [0, 1), got {rate}")
    return rates


def per_stage(value: Any, count: int, *, option: str, least: float | None = None) -> list[Any]:
    """One value for all stages, or a list with one for each -> one for each.

    Args:
        value: of the option.
        count: of stages.
        option: its name.
        least: it may have; None: it must be positive.

    Raises:
        MtlbenchError: another number of values, or one that is too small.
    """
    values = list(value) if isinstance(value, tuple | list) else [value]
    values = values * count if len(values) == 1 else values
    if len(values) != count:
        raise MtlbenchError(f"`{option}` must be one value or {count}, one for each map, got {len(values)}")
    for v in values:
        if (least is None and v <= 0) or (least is not None and v < least):
            raise MtlbenchError(f"`{option}` must be {'> 0' if least is None else f'>= {least}'}, got {v}")
    return values


def per_task(
    value: Any, tasks: Sequence[str], count: int, *, option: str, least: float | None = None
) -> list[dict[str, Any]]:
    """As `per_stage`, the same for all tasks or with values by task -> for each stage the values by task.

    Values by task may name others, so that one setting serves networks of several tasks and of one.

    Raises:
        MtlbenchError: as there, or values by task lack one of the network's tasks.
    """
    by_task = value if isinstance(value, Mapping) else dict.fromkeys(tasks, value)
    missing = [task for task in tasks if task not in by_task]
    if missing:
        raise MtlbenchError(f"`{option}` must have a value for each task, has none for {', '.join(missing)}")
    each = {task: per_stage(by_task[task], count, option=option, least=least) for task in tasks}
    return [{task: values[i] for task, values in each.items()} for i in range(count)]

"""MTLoRA (Agiza et al., "MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning", CVPR
2024), after the released code, github.com/scale-lab/MTLoRA.

Every block has low-rank updates that all tasks share; in the last block before each map each task has an
update, and so a stream of tokens, of its own (`layers/mtlora_linear.py` has the equations):

    a        = attention(norm1(x))                    qkv with the shared update
    (p, p_t) = proj(a);                               y = x + p,    y_t = x + p_t
    (o, o_t) = fc2(GELU(fc1(norm2(y), norm2(y_t))));  z = y + o,    z_t = y_t + o_t

z_t is task t's map, or with `taps: after_merging` of the backbone (as published) is merged to it by the
weights that merge z; z alone goes on. So one pass of the encoder serves all tasks. Beside the updates,
norms, patch embedding, position tables and patch merging train, unless `frozen` names them.

Departures from the published code: it works with any Swin and plain ViT, in which position embeddings
train as position tables do; what no prediction depends on does not train (`variant`).
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.registry import unknown
from mtlbench.search.spaces import OneOf, Range, domains
from mtlbench.tuning import Tuning

from .layers.mtlora_linear import MTLoRALinear
from .layers.placement import (
    Part,
    Variant,
    blocks_by_stage,
    check_dropout,
    check_frozen,
    check_variant,
    choose_trained,
    freeze_unread,
    merge,
    per_stage,
    per_task,
    place,
)
from .layers.streams import Flow

Mode = Literal["matrix", "matrixv2", "addition", "lora_only"]
UNREAD: dict[str, tuple[str, ...]] = {
    "matrix": ("mlp.fc2.lora_shared",),
    "matrixv2": (),
    "addition": ("mlp.fc2.lora_norm",),
    "lora_only": (),
}
"""What only the shared stream gets behind the last layer that tasks' streams read it at, which is fc2."""


class MTLoRA(Tuning):
    """MTLoRA: low-rank updates shared in every block, and of each task in the last block before each map.

    The backbone is a Swin (of the first version) or a plain ViT. One value of an option is for all four maps'
    blocks, a list has one for each map.

    Args:
        r: rank of the shared updates; 0: none in these blocks, of tasks neither.
        task_r: rank of each task's updates; a mapping has values by task.
        scale: of the shared updates; it is not divided by the rank.
        task_scale: of each task's updates; a mapping has values by task.
        dropout: of the updates' input.
        mode: `matrix`: a task's output is that of the frozen layer and its own update's; `matrixv2`: the
            shared update's as well; `addition`: the shared output is the normalised sum of all tasks'
            instead of an update's; `lora_only`: shared updates alone, which can be merged.
        low_rank_merging: MTLoRA+: patch merging has low-rank updates and is frozen otherwise.
        frozen: what does not train of `norms`, `patch_embed`, `positions` and `reduction` (patch merging).
        variant: `published`: the shared update of the very last layer, which no prediction depends on, is
            among what trains, and in the published counts.
    """

    # r, task_r: those of the paper's table; scale: two octaves around the published one.
    search_space = domains(
        r=OneOf((4, 8, 16, 32, 64)), task_r=OneOf((2, 4, 8, 16)), scale=Range(1, 16, log=True)
    )

    def __init__(
        self,
        *,
        r: int | tuple[int, ...] = 16,
        task_r: int | tuple[int, ...] | dict[str, int | tuple[int, ...]] = 4,
        scale: float | tuple[float, ...] = 4.0,
        task_scale: float | tuple[float, ...] | dict[str, float | tuple[float, ...]] = 4.0,
        dropout: float | tuple[float, ...] = 0.05,
        mode: Mode = "matrix",
        low_rank_merging: bool = False,
        frozen: tuple[Part, ...] = (),
        variant: Variant = "corrected",
    ) -> None:
        check_variant(variant)
        if mode not in UNREAD:
            raise MtlbenchError(unknown("`mode`", mode, list(UNREAD)))
        check_frozen(frozen)
        self.r, self.task_r = r, task_r
        self.scale, self.task_scale = scale, task_scale
        self.dropout = dropout
        self.mode: Mode = mode
        self.low_rank_merging = low_rank_merging
        self.frozen: tuple[Part, ...] = (*frozen, "reduction") if low_rank_merging else frozen
        self.variant: Variant = variant
        self.starts_equal = mode != "addition"  # type: ignore[misc]  # of this one

    def apply(self, network: Method) -> Method:
        if not network.needs_backbone:
            return network
        stages, tasks = len(blocks_by_stage(network)), tuple(network.tasks)
        r = per_stage(self.r, stages, option="r", least=0)
        task_r = per_task(self.task_r, tasks, stages, option="task_r", least=1)
        scale = per_stage(self.scale, stages, option="scale")
        task_scale = per_task(self.task_scale, tasks, stages, option="task_scale")
        dropout = check_dropout(per_stage(self.dropout, stages, option="dropout", least=0))
        mode = "matrix" if self.mode == "lora_only" else self.mode

        def make(linear: nn.Linear, stage: int, flow: Flow, *, tasks: bool, name: str) -> MTLoRALinear:
            return MTLoRALinear(
                linear,
                r=r[stage],
                task_r=task_r[stage] if tasks else {},
                scale=scale[stage],
                task_scale=task_scale[stage],
                mode=mode,
                flow=flow,
                dropout=dropout[stage],
            )

        choose_trained(network, self.frozen)
        where = [rank > 0 for rank in r]
        streams = self.mode != "lora_only"
        place(network, make, stages=where, tasks=streams, merging=self.low_rank_merging)
        if streams and r[-1] > 0 and self.variant == "corrected":
            freeze_unread(network, UNREAD[self.mode])
        return network

    def merge(self, network: Method) -> str | None:
        return merge(network) if network.needs_backbone else None

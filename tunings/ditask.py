"""DITASK (Mantri et al., "DiTASK: Multi-Task Fine-Tuning with Diffeomorphic Transformations", CVPR 2025),
after the released code, github.com/ipsitmantri/DiTASK.

The weights of every block keep their singular vectors; their spectra are resampled along trained maps of
[0, 1] (`layers/ditask_linear.py`, `layers/cpab.py` have the equations). Layers and streams of tokens stand
where MTLoRA has its own (`mtlora.py`), and the same trains beside them:

    (p, p_t) = (W' a + b, W'_t a + b)                 proj in the last block before each map; y = x + p, ...
    (o, o_t) = fc2(GELU(fc1(norm2(y), norm2(y_t))))   W' of the shared stream, W'_t of the task's
    z = y + o,  z_t = y_t + o_t                       z_t: task t's map; z goes on

A network does not begin as its pretrained one: maps are drawn at random, as published.

Departures from the published code: it works with any Swin and plain ViT, in which position embeddings
train as position tables do; what no prediction depends on does not train (`variant`).
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from mtlbench.model import Method
from mtlbench.search.spaces import OneOf, domains
from mtlbench.tuning import Tuning

from .layers.ditask_linear import DiTASKLinear
from .layers.placement import (
    Part,
    Variant,
    blocks_by_stage,
    check_dropout,
    check_frozen,
    check_variant,
    choose_trained,
    freeze_unread,
    layers_in,
    merge,
    per_stage,
    per_task,
    place,
)
from .layers.streams import Flow
from .layers.together import TogetherDeformed

LEAST_CELLS = 2
UNREAD = ("attn.proj.lora_shared", "mlp.fc1.lora_shared", "mlp.fc2.lora_shared")
"""In the last block: tasks' streams do not read the shared one behind its attention."""


class DiTASK(Tuning):
    """DITASK: spectra of the backbone's weights are resampled, for all tasks and for each at the maps.

    The backbone is a Swin (of the first version) or a plain ViT. One value of an option is for all four maps'
    blocks, a list has one for each map. A map of [0, 1] with n cells has n - 1 parameters.

    Args:
        cells: n of the shared maps.
        task_cells: n of each task's maps; a mapping has values by task; None: no task has any, so that the
            deformed weights can be merged.
        dropout: of the layers' input; on tasks' streams none.
        deformed_merging: patch merging has deformed weights too, and is frozen otherwise.
        frozen: what does not train of `norms`, `patch_embed`, `positions` and `reduction` (patch merging).
        variant: `published`: with parameters that no prediction depends on, but that are in the published
            counts: each task has maps in the qkv layers of all blocks too, and the shared maps of proj, fc1
            and fc2 of the very last block are among what trains.
    """

    starts_equal: ClassVar[bool] = False

    # the paper's tessellations and what is between and around them
    search_space = domains(cells=OneOf((4, 16, 32, 64, 128)), task_cells=OneOf((2, 4, 16, 64)))

    def __init__(
        self,
        *,
        cells: int | tuple[int, ...] = 64,
        task_cells: int | tuple[int, ...] | dict[str, int | tuple[int, ...]] | None = 4,
        dropout: float | tuple[float, ...] = 0.05,
        deformed_merging: bool = False,
        frozen: tuple[Part, ...] = (),
        variant: Variant = "corrected",
    ) -> None:
        check_variant(variant)
        check_frozen(frozen)
        self.cells, self.task_cells = cells, task_cells
        self.dropout = dropout
        self.deformed_merging = deformed_merging
        self.frozen: tuple[Part, ...] = (*frozen, "reduction") if deformed_merging else frozen
        self.variant: Variant = variant

    def apply(self, network: Method) -> Method:
        if not network.needs_backbone:
            return network
        stages, streams = len(blocks_by_stage(network)), self.task_cells is not None
        cells = per_stage(self.cells, stages, option="cells", least=LEAST_CELLS)
        names = tuple(network.tasks) if streams else ()
        task_cells = per_task(self.task_cells, names, stages, option="task_cells", least=LEAST_CELLS)
        dropout = check_dropout(per_stage(self.dropout, stages, option="dropout", least=0))

        def make(linear: nn.Linear, stage: int, flow: Flow, *, tasks: bool, name: str) -> DiTASKLinear:
            unused = self.variant == "published" and name == "attn.qkv"
            return DiTASKLinear(
                linear,
                cells=cells[stage],
                task_cells=task_cells[stage] if unused or tasks else {},
                flow=flow,
                dropout=dropout[stage],
            )

        choose_trained(network, self.frozen)
        place(network, make, stages=[True] * stages, tasks=streams, merging=self.deformed_merging)
        if streams and self.variant == "corrected":
            freeze_unread(network, UNREAD)
        TogetherDeformed(network.backbone, [layer for _, layer in layers_in(network.backbone)])
        return network

    def merge(self, network: Method) -> str | None:
        return merge(network) if network.needs_backbone else None

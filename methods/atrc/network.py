"""What ATRC's network and its search stage have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.labels import Normals
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Task, Tasks

from ..layers.conv import ConvBNReLU, initialise_logits
from .auxiliary import auxiliary_channels, auxiliary_loss
from .centroids import CENTROIDS
from .contexts import Projection, Regions, context_dim
from .genotypes import likely_data_set

Centroids = Literal["auto", "nyud", "pascal_context"]
ENDPOINT = "aux"
BLOCK = r"atrc_module\.cp_blocks\."
RULES = (
    Rule(BLOCK + r"(.+)\.op_list\.(\d+)\.(query|key|value)_project\.", r"contexts.\1.ops.\2.\3."),
    Rule(BLOCK + r"(.+)\.(query|key|value)_project\.", r"contexts.\1.\2."),
    Rule(BLOCK, "contexts."),
    Rule(r"atrc_module\.out_proj\.", "out_proj."),
    Rule(r"atrc_module\.bottleneck\.(\w+)\.(?:0\.)?", r"fuse.\1."),
)


class RelationalNetwork(Method):
    """Features of each task, distilled into those of the others through contexts.

    A subclass calls `assemble` in its constructor and says in `relate` what a target gets of its sources.

    Args:
        backbone: gives the features.
        tasks: what to predict.
        variant: `corrected` or `published`.
        without: quirks of the variant to leave out.
        depth_range: of the 40 bins of the auxiliary depth, in the labels' unit.
        centroids: of the auxiliary normals; `auto`: those of the data set that the tasks suggest.

    Quirks:
        outside_similarity: positions of a local window that lie outside the map stay in the softmax, with
            similarity 0 and value 0; corrected: only positions inside take part.
    """

    published_keys = RULES
    centroids: Tensor

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        depth_range: tuple[float, float] = (0.7, 10.0),
        centroids: Centroids = "auto",
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        self.see_outside = "outside_similarity" in self.quirks
        _check(depth_range, centroids)
        self.depth_range = depth_range
        self.directions = likely_data_set(tasks) if centroids == "auto" else centroids
        self.register_buffer("centroids", torch.tensor(CENTROIDS[self.directions]), persistent=False)
        self.in_channels = sum(backbone.channels)
        self.width = max(self.in_channels // 4, 1)

    def assemble(
        self,
        contexts: Mapping[str, Mapping[str, nn.Module]],
        *,
        auxiliary: Sequence[str],
        dropout: float,
    ) -> None:
        """Make the layers.

        Args:
            contexts: target -> source -> what relates them.
            auxiliary: tasks with an auxiliary prediction.
            dropout: of whole channels, after the distilled features are fused.
        """
        channels, width = self.in_channels, self.width
        self.bottleneck = nn.ModuleDict({t: ConvBNReLU(channels, width, 3) for t in self.tasks})
        self.aux_conv = nn.ModuleDict({t: ConvBNReLU(channels, channels, 1) for t in auxiliary})
        self.aux_logits = nn.ModuleDict(
            {t: nn.Conv2d(channels, auxiliary_channels(self.tasks[t]), 1) for t in auxiliary}
        )
        self.contexts = nn.ModuleDict({t: nn.ModuleDict(sources) for t, sources in contexts.items()})
        sources = {t: len(contexts[t]) for t in self.tasks}
        self.out_proj = nn.ModuleDict({t: _distil(n, width) for t, n in sources.items() if n})
        self.fuse = nn.ModuleDict(
            {t: ConvBNReLU(2 * width if n else width, width, 1) for t, n in sources.items()}
        )
        self.dropout = nn.Dropout2d(dropout)
        self.final_logits = nn.ModuleDict(
            {t: nn.Conv2d(width, task.channels, 1) for t, task in self.tasks.items()}
        )
        initialise_logits(self)

    def relate(self, target: str, features: Mapping[str, Tensor], regions: Regions) -> list[Tensor]:
        """What the target's features are answered by each source: S times (B, D, h, w)."""
        raise NotImplementedError

    def contexts_of(self, target: str) -> Mapping[str, nn.Module]:
        """Source -> what relates it to the target."""
        return dict(cast(nn.ModuleDict, self.contexts[target]).items())

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), auxiliary ones (B, K'_t, h_0, w_0)."""
        f = {t: self.bottleneck[t](features) for t in self.tasks}  # (B, C/4, h, w)
        apart = [x.detach() for x in features]
        auxiliary = {t: self.aux_logits[t](conv(apart)) for t, conv in self.aux_conv.items()}
        regions = Regions(auxiliary, f)
        final = {}
        for t in self.tasks:
            related = self.relate(t, f, regions)  # S times (B, C/8, h, w)
            distilled = [self.out_proj[t](torch.cat(related, dim=1))] if related else []
            g = self.dropout(self.fuse[t](torch.cat([f[t], *distilled], dim=1)))
            final[t] = resize(self.final_logits[t](g), size)
        return Outputs(final, {ENDPOINT: auxiliary} if auxiliary else {})

    @property
    def own_parameters(self) -> dict[str, tuple[str, ...]]:
        """A shift of a task's auxiliary logits is lost in the softmax by which other tasks see them."""
        return {t: (f"aux_logits.{t}.bias",) for t in self.aux_logits}

    @property
    def task_blocks(self) -> dict[str, tuple[int, Sequence[str]]]:
        """What distils the answers of all sources, one after the other."""
        return {f"out_proj.{t}.conv.weight": (1, list(self.contexts_of(t))) for t in self.out_proj}

    @property
    def meanings(self) -> dict[str, str]:
        """Which directions an auxiliary prediction of normals is about."""
        return {
            f"aux_logits.{t}.": self.directions for t in self.aux_logits if _has_directions(self.tasks[t])
        }

    def auxiliary_loss(self, endpoint: str, task: str) -> Callable[[Tensor, Tensor], Tensor]:
        """Cross-entropy over a task's classes, bins or clusters; of class maps their own loss."""
        return auxiliary_loss(self.tasks[task], depth_range=self.depth_range, centroids=self.centroids)


def _has_directions(task: Task) -> bool:
    return issubclass(task.label_type, Normals)


def _distil(sources: int, width: int) -> Projection:
    """From the answers of all sources to what is added to the target's features: nothing, at the start."""
    project = Projection(sources * context_dim(width), width, nn.Identity())
    project.conv.reset_parameters()
    nn.init.zeros_(project.bn.weight)
    nn.init.zeros_(project.bn.bias)
    return project


def _check(depth_range: tuple[float, float], centroids: str) -> None:
    """Raise MtlbenchError for what can't be."""
    low, high = depth_range
    if not 0 < low < high:
        raise MtlbenchError(
            f"`depth_range` of atrc must be two numbers with 0 < low < high, got {list(depth_range)}"
        )
    if centroids not in ("auto", *CENTROIDS):
        raise MtlbenchError(f"`centroids` of atrc must be auto, {' or '.join(CENTROIDS)}, got {centroids!r}")

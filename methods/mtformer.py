"""MTFormer: every task has a transformer branch, and asks the others' with their attention, its own values.

Paper: Xu, Zhao, Vineet, Lim and Torralba, "MTFormer: Multi-Task Learning via Transformer and Cross-Task
Reasoning", ECCV 2022. After the released code (xiaogang00/MTFormer). All blocks attend inside windows of 7x7,
shifted in every second one, at 1/8 resolution:

    X    = W [F_2; up(F_3); up(F_4)]                               pointwise, 256 channels
    F_t  = branch_t(shared(X))                                     two Swin blocks each, then LN
    A_j  = softmax(q_t(F_j) k_t(F_j)^T / sqrt(d) + bias) v_t(F_t)  j: all tasks; values are always t's own
    F'_t = F_t + MLP([MLP_t(A_t); MLP_j(A_j) for the others]) + A_t
    F_t <- F'_t + MLP(LN(F'_t))                                    two such blocks, the F_j stay as they are
    y_t  = up(head_t(LN(F_t)))

Variants: `corrected` (default), and `published`, the released code number for number, with the quirks below.

Departures from the released code, in all variants: any set of tasks (it has networks for semseg and depth,
and for semseg, human_parts and sal), in which what the others add to the concatenation becomes narrower; and
its contrastive loss (weight 0.01, with a memory of all training images) is left out. It weighs the tasks by
uncertainty, as the balancer `uncertainty` does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.model import Method, Outputs
from mtlbench.published import Rule
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from .layers.batch_norm import BatchNorm2d
from .layers.checks import check_heads, check_numbers
from .layers.features import FeatureConv2d
from .layers.unread import without_gradient
from .layers.windows import (
    WindowBias,
    WindowBlock,
    Windows,
    attend,
    initialise_linear,
    mlp,
    plain_and_shifted,
)

DOUBLED = ("semseg", "human_parts", "depth")
"""Tasks whose predictions the released code doubles with aligned corners before it resizes them."""
PAIR = ("semseg", "depth")
"""The released network for these two counts them in this order, whatever order they are given in."""
CONTRAST = 128
"""Width of the layers that the contrastive loss reads."""


class MTFormer(Method):
    """MTFormer: a transformer branch for each task, attention maps of all tasks over each task's values.

    Args:
        backbone: gives the features, of which the finest map is not read.
        tasks: what to predict.
        variant: `corrected` or `published` (released code).
        without: quirks of the variant to leave out.
        dim: width of all blocks.
        depth: blocks of the shared decoder, of each branch and of each cross-task stage.
        heads: of the attention.
        window: side of the windows.

    Quirks:
        wide_scale: with two tasks, products of the cross-task attention are divided by the root of twice the
            head's width; corrected: of the head's width.
        doubled_predictions: predictions of semseg, human_parts and depth are first doubled in size with
            aligned corners, which draws them out at the border; corrected: resized once.
        depth_head: three pointwise convolutions for depth without batch norm, and a last ReLU, which passes
            no gradient where it is zero; corrected: the head of all other tasks.
        unused_patch_embeddings: each Swin stage holds a 4x4 patch embedding that it does not use; corrected:
            none.
        unused_training_parameters: the network holds the logarithms of the tasks' variances and the layers
            that the contrastive loss reads; corrected: none.
    """

    paper = "Xu et al., ECCV 2022"
    code = "after the released code, xiaogang00/MTFormer"

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        dim: int = 256,
        depth: int = 2,
        heads: int = 4,
        window: int = 7,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        check_numbers("mtformer", dim=dim, depth=depth, heads=heads, window=window)
        check_heads("mtformer", dim, heads)
        self.published_keys = tuple(_rules(list(tasks), dim))
        self.window, self.depth = window, depth
        unused = "unused_patch_embeddings" in self.quirks
        self.reduce = FeatureConv2d(sum(backbone.channels[-3:]), dim, 1)
        self.shared = SwinStage(dim, depth, heads, window, patch_embedding=unused)
        self.branches = nn.ModuleDict(
            {t: SwinStage(dim, depth, heads, window, patch_embedding=unused) for t in tasks}
        )
        width = 2 * dim if "wide_scale" in self.quirks and len(tasks) == 2 else dim
        self.cross = nn.ModuleDict(
            {t: CrossStage(t, tasks, dim, depth, heads, window, scale=(width / heads) ** -0.5) for t in tasks}
        )
        for stage in (self.shared, self.branches, self.cross):
            initialise_linear(stage)
        self.final_logits = nn.ModuleDict({t: self._head(t, dim) for t in tasks})
        if "unused_training_parameters" in self.quirks:
            self.log_variances = nn.Parameter(torch.zeros(len(tasks)))
            self.contrast = nn.ModuleDict({t: _projection(dim) for t in tasks})

    def _head(self, task: str, dim: int) -> nn.Module:
        doubled = "doubled_predictions" in self.quirks and task in DOUBLED
        twice = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True) if doubled else nn.Identity()
        channels = self.tasks[task].channels
        if "depth_head" in self.quirks and task == "depth":
            wide, narrow = nn.Conv2d(dim, 128, 1), nn.Conv2d(128, 32, 1)
            return nn.Sequential(wide, twice, narrow, nn.ReLU(), nn.Conv2d(32, channels, 1), nn.ReLU())
        first = nn.Conv2d(dim, dim, 1, bias=False)
        return nn.Sequential(first, BatchNorm2d(dim), nn.ReLU(), nn.Conv2d(dim, channels, 1), twice)

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """What is there without being used, and what makes the backbone's finest map alone."""
        stages = ("shared", *(f"branches.{t}" for t in self.tasks))
        unused = [f"{stage}.patch_embedding." for stage in stages]
        finest = [f"backbone.{name}" for name in without_gradient(self.backbone, [-3, -2, -1])]
        return (*unused, *finest, "log_variances", "contrast.")

    @property
    def task_blocks(self) -> dict[str, tuple[int, Sequence[str]]]:
        """The logarithms of variances, one a task."""
        return {"log_variances": (0, list(self.tasks))} if "unused_training_parameters" in self.quirks else {}

    @property
    def meanings(self) -> Mapping[str, str]:
        """Layers that read the concatenation of all tasks."""
        every = ", ".join(sorted(self.tasks))
        blocks = [(t, i) for t in self.tasks for i in range(self.depth)]
        return {f"cross.{t}.blocks.{i}.fuse.": every for t, i in blocks}

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size)."""
        x = self.reduce(features[-3:]).movedim(1, -1)  # (B, h, w, C), channels last from here
        windows = plain_and_shifted(x, self.window)
        x = self.shared(x, windows)
        own = {t: branch(x, windows) for t, branch in self.branches.items()}  # F_t
        final = {}
        for task, cross in self.cross.items():
            logits = self.final_logits[task](cross(own, windows).movedim(-1, 1).contiguous())
            final[task] = resize(logits, size)
        return Outputs(final)


class SwinStage(nn.Module):
    """Swin blocks, every second one with shifted windows, then LN."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, *, patch_embedding: bool) -> None:
        super().__init__()
        if patch_embedding:
            self.patch_embedding = nn.ModuleDict({"proj": nn.Conv2d(dim, dim, 4), "norm": nn.LayerNorm(dim)})
        self.blocks = nn.ModuleList(WindowBlock(dim, heads, window) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, windows: tuple[Windows, Windows]) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        for i, block in enumerate(self.blocks):
            x = block(x, windows[i % 2])
        normed: Tensor = self.norm(x)
        return normed


class CrossStage(nn.Module):
    """Cross-task blocks of one task, then LN."""

    def __init__(
        self, task: str, tasks: Iterable[str], dim: int, depth: int, heads: int, window: int, *, scale: float
    ) -> None:
        super().__init__()
        self.task = task
        self.blocks = nn.ModuleList(
            CrossBlock(task, tasks, dim, heads, window, scale=scale) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: Mapping[str, Tensor], windows: tuple[Windows, Windows]) -> Tensor:
        """Every task's (B, H, W, C) -> this task's."""
        maps = dict(maps)
        for i, block in enumerate(self.blocks):
            maps[self.task] = block(maps, windows[i % 2])
        normed: Tensor = self.norm(maps[self.task])
        return normed


class CrossBlock(nn.Module):
    """Attention maps of all tasks, applied to the values of one.

    Attributes:
        others: sorted, so that the concatenation does not depend on the order in which tasks are given.
    """

    def __init__(
        self, task: str, tasks: Iterable[str], dim: int, heads: int, window: int, *, scale: float
    ) -> None:
        super().__init__()
        self.task, self.others = task, sorted(t for t in tasks if t != task)
        self.heads, self.scale = heads, scale
        count = 1 + len(self.others)
        share = part_width(dim, count)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.bias = WindowBias(heads, window)
        self.to_qk, self.to_v = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.own = mlp(dim, count * dim)
        self.parts = nn.ModuleDict({t: mlp(dim, count * dim, share) for t in self.others})
        self.fuse = mlp(dim + share * len(self.others), count * dim, dim)
        self.mlp = mlp(dim, 4 * dim)

    def forward(self, maps: Mapping[str, Tensor], windows: Windows) -> Tensor:
        """Every task's (B, H, W, C) -> this task's."""
        normed = {t: self.norm1(x) for t, x in maps.items()}
        v, bias = windows.cut_projected(self.to_v, normed[self.task]), self.bias(windows)
        answers = {t: self._attended(normed[t], v, bias, windows) for t in (self.task, *self.others)}  # A_j
        own = answers[self.task]
        fused = torch.cat([self.own(own), *(self.parts[t](answers[t]) for t in self.others)], dim=-1)
        x = maps[self.task] + self.fuse(fused) + own
        return x + self.mlp(self.norm2(x))

    def _attended(self, asking: Tensor, v: Tensor, bias: Tensor, windows: Windows) -> Tensor:
        q, k = windows.cut_projected(self.to_qk, asking).chunk(2, dim=-1)
        answer = windows.join(attend(q, k, v, bias, heads=self.heads, scale=self.scale))
        attended: Tensor = self.proj(answer)
        return attended


def part_width(dim: int, tasks: int) -> int:
    """Width of what each other task adds to the concatenation."""
    return max(dim // max(tasks - 1, 1), 1)


def _projection(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, CONTRAST), nn.ReLU(), nn.Linear(CONTRAST, CONTRAST))


FC = {"fc1": "0", "fc2": "2"}
BLOCK = r"layers\.0\.blocks\.(\d+)\."


def _rules(tasks: list[str], dim: int) -> Iterator[Rule]:
    """Published names, which count the tasks, -> ours."""
    if set(tasks) == set(PAIR):
        tasks = list(PAIR)
    yield Rule(r".*relative_position_index$", None)
    yield Rule(r"contrast\d", None)  # memories of training images
    yield Rule(r"log_var_list$", "log_variances")
    yield Rule(r"decoder\.", "reduce.")
    yield from _stage_rules(r"transformer1\.", "shared.")
    for i, task in enumerate(tasks):
        two = len(tasks) == 2  # numbered in another way than three
        branch, cross = (4 + i, 6 + i) if two else (f"4_{i + 1}", f"5_{i + 1}")
        yield from _stage_rules(rf"transformer{branch}\.", f"branches.{task}.")
        yield from _cross_rules(
            rf"transformer{cross}\.", f"cross.{task}.", [t for t in tasks if t != task], dim
        )
        yield Rule(rf"project{i + 1}\.", f"final_logits.{task}.")
        yield Rule(rf"mapping{i + 1}\.", f"contrast.{task}.")


def _stage_rules(published: str, ours: str) -> Iterator[Rule]:
    yield Rule(published + r"patch_embed\.", ours + "patch_embedding.")
    yield Rule(published + r"norm0\.", ours + "norm.")
    block = ours + r"blocks.\1."
    yield Rule(published + BLOCK + r"attn\.relative_position_bias_table", block + "attention.bias.table")
    yield Rule(published + BLOCK + r"attn\.", block + "attention.")
    for fc, index in FC.items():
        yield Rule(published + BLOCK + rf"mlp\.{fc}\.", block + f"mlp.{index}.")
    yield Rule(published + BLOCK, block)


def _cross_rules(published: str, ours: str, others: list[str], dim: int) -> Iterator[Rule]:
    yield Rule(published + r"norm0\.", ours + "norm.")
    block = ours + r"blocks.\1."
    layers = {"mlp2": "mlp", "mlp31": "own"} | {f"mlp3{i}": f"parts.{t}" for i, t in enumerate(others, 2)}
    for fc, index in FC.items():
        for name, layer in layers.items():
            yield Rule(published + BLOCK + rf"{name}\.{fc}\.", block + f"{layer}.{index}.")
    yield Rule(
        published + BLOCK + r"mlp3\.fc1\.weight", block + "fuse.0.weight", lambda x: _by_name(x, others, dim)
    )
    yield Rule(published + BLOCK + r"mlp3\.fc1\.bias", block + "fuse.0.bias")
    yield Rule(published + BLOCK + r"mlp3\.fc2\.", block + "fuse.2.")
    yield Rule(published + BLOCK + r"attn1\.relative_position_bias_table", block + "bias.table")
    for name, layer in {"qkv": "to_qk", "qkv2": "to_v", "proj": "proj"}.items():
        yield Rule(published + BLOCK + rf"attn1\.{name}\.", block + f"{layer}.")
    yield Rule(published + BLOCK, block)


def _by_name(weight: Tensor, others: list[str], dim: int) -> Tensor:
    """Columns of the layer that reads all tasks: the others' in their order -> sorted by name."""
    own, parts = weight[:, :dim], weight[:, dim:].chunk(max(len(others), 1), dim=1)
    return torch.cat([own, *(parts[others.index(t)] for t in sorted(others))], dim=1)

"""TaskPrompter: prompts of each task that pass through the backbone with the patches, and ask for features.

Paper: Ye, Xu, "TaskPrompter: Spatial-Channel Multi-Task Prompting for Dense Scene Understanding", ICLR 2023;
after the released code (prismformore/Multi-Task-Transformer). Every block of a plain ViT or a Swin takes a
prompt p_t of each task beside the patches x. It compares prompts with positions and with channels, and what
it found weighs the features that a task reads at four levels l:

    x, p, S, R = block(x, p)         S: products with positions, for each head; R: with channels, by window
    F_t^l = fuse_t([spatial_t(x * S_t + x); channel_t(x * R_t + x)])
    F_t^l = sum_s w(S_tt')_s F_s^l   `reweight`: what prompts found in each other mixes the tasks
    F_t   = sum_l up(F_t^l)          Swin: merge_t of it, a 3x3 convolution
    y_t   = up(logits_t(project_t(F_t)))

S and R are products as they are, neither scaled nor normalised, in the published code and here. With a Swin,
prompts are copied into every window and averaged after it.

Linear layers over all positions of a map tie the published network to one size of images. `corrected` makes
them for `input_size`, too, where it works as published; at any other size maps are resized to theirs.

The backbone gives up what nothing here reads: a ViT its class token, a Swin the norms of its maps. The
published network of the paper's tables for ViT-L takes `vit-l-384`; the released Swin is the one for
Cityscapes, here with tasks that are predicted for pixels only.
"""

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.backbones import plugins
from mtlbench.backbones.base import Backbone
from mtlbench.backbones.swin import Swin
from mtlbench.backbones.vit import PlainViT
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method, Outputs
from mtlbench.registry import registry
from mtlbench.resizing import resize
from mtlbench.tasks import Tasks

from ..layers.checks import check_numbers
from ..layers.windows import initialise_linear
from .checks import check_groups, check_reweight, check_sizes, check_squares
from .features import ConvHead, DeconvHead, TaskFeatures
from .names import swin_rules, vit_rules
from .plain import PromptedViT
from .shifted import PromptedSwin

FAMILIES = ("vit-", "swin-")
ENLARGE = 4
"""How much larger the map is that a plain ViT's tasks are decoded on."""


class TaskPrompter(Method):
    """TaskPrompter: prompts of each task pass through the backbone and weigh the features that it reads.

    Args:
        backbone: a plain ViT or a Swin.
        tasks: what to predict.
        variant: `corrected`, or `published` (released code).
        without: quirks of the variant to leave out.
        input_size: height and width of the images that layers over all positions are made for.
        embed_dim: width of what a task reads at each level; None: 768 (ViT) or 256 (Swin).
        final_dim: width of a task's features; None: 768 (ViT) or 450 (Swin).
        channel_heads: windows of the comparison with channels, a square number; None: 16 (ViT) or 1 (Swin).
        channel_dim: width of a Swin's comparison with channels, a square number.
        prompt_length: prompts of each task.
        reweight: whether tasks mix, as their prompts say (ViT, `prompt_length` 1).
        head: `conv`, a convolution at 1/4, or `deconv`, two at 1/2; None: `conv` (ViT) or `deconv` (Swin).
        image_scale: images are made smaller or larger by this factor first.

    Quirks:
        fixed_size: images must have `input_size`, and what is beyond a multiple of the patch's side is cut
            off; corrected: any size, filled up.
        discarded_attention: (ViT) what prompts find in the channels is computed and not used, they are
            updated by what they asked with; corrected: by what they found, as with a Swin.
        unused_update: (ViT) the last block has a layer for an update of prompts that nothing reads;
            corrected: left out.
        raw_query: (Swin) prompts ask the channels without LayerNorm; corrected: with it, as in the ViT.
        unshifted_small_maps: (Swin) on maps not larger than a window, windows are as small as the map's
            smaller side and are not shifted; corrected: as in the backbone without prompts.
        first_prompts: with several prompts a task, task t reads the channels as the t-th of all prompts
            says; corrected: as the mean of its own.
    """

    paper = "Ye and Xu, ICLR 2023"
    code = "after the released code, prismformore/Multi-Task-Transformer"
    inside_backbone: ClassVar[bool] = True

    def __init__(
        self,
        backbone: Backbone,
        tasks: Tasks,
        *,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
        input_size: tuple[int, int] = (448, 576),
        embed_dim: int | None = None,
        final_dim: int | None = None,
        channel_heads: int | None = None,
        channel_dim: int = 256,
        prompt_length: int = 1,
        reweight: bool = False,
        head: Literal["conv", "deconv"] | None = None,
        image_scale: float = 1.0,
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant, without)
        plain = _is_plain(backbone)
        embed_dim = _default(embed_dim, 768 if plain else 256)
        final_dim = _default(final_dim, 768 if plain else 450)
        channel_heads = _default(channel_heads, 16 if plain else 1)
        self.input_size, self.image_scale = input_size, image_scale
        numbers = {"embed_dim": embed_dim, "final_dim": final_dim, "prompt_length": prompt_length}
        check_numbers("taskprompter", **numbers, channel_heads=channel_heads, channel_dim=channel_dim)
        check_sizes(input_size, image_scale)
        check_squares(channel_heads, None if plain else channel_dim)
        check_reweight(reweight, prompt_length, plain=plain)
        count = len(tasks) * prompt_length
        self.prompted = self._prompted(count, math.isqrt(channel_heads), channel_dim)
        initialise_linear(self.prompted)
        self.prompts = nn.Parameter(torch.empty(count, self.prompted.dim))
        nn.init.trunc_normal_(self.prompts, mean=1.0)
        check_groups(self.prompted.widths, prompt_length)
        self.levels = nn.ModuleList(
            TaskFeatures(
                tuple(tasks),
                channels,
                heads,
                dim=embed_dim,
                final_dim=final_dim,
                length=prompt_length,
                enlarge=1 if plain else 2,
                kernel=1 if plain else 3,
                reweights=reweight,
                first_prompts="first_prompts" in self.quirks,
            )
            for channels, heads in self.prompted.widths
        )
        self.enlarge = ENLARGE if plain else 1
        self.merge = nn.ModuleDict(
            {} if plain else {t: nn.Conv2d(final_dim, final_dim, 3, padding=1) for t in tasks}
        )
        kind = DeconvHead if (head or ("conv" if plain else "deconv")) == "deconv" else ConvHead
        heads = {t: kind(final_dim) for t in tasks}
        self.project = nn.ModuleDict(heads)
        self.final_logits = nn.ModuleDict(
            {t: nn.Conv2d(heads[t].channels_out, task.channels, 1) for t, task in tasks.items()}
        )

    def _prompted(self, count: int, windows: int, channel_dim: int) -> PromptedViT | PromptedSwin:
        """What prompts need beside the backbone's blocks; the backbone gives up what isn't read."""
        size = (int(self.input_size[0] * self.image_scale), int(self.input_size[1] * self.image_scale))
        if isinstance(self.backbone, PlainViT):
            self.published_keys = vit_rules(len(self.backbone.blocks), self.quirks)
            self.backbone.cls_token = None
            return PromptedViT(self.backbone, size, windows=windows, quirks=self.quirks)
        assert isinstance(self.backbone, Swin)
        self.published_keys = swin_rules(len(self.backbone.layers), count)
        for name in [name for name, _ in self.backbone.named_children() if name.startswith("norm")]:
            self.backbone.add_module(name, nn.Identity())
        return PromptedSwin(
            self.backbone, size, prompts=count, channel_dim=channel_dim, windows=windows, quirks=self.quirks
        )

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """Backbones that have no blocks for prompts, as far as a name tells: ours and timm's."""
        unknown = backbone in registry.names("backbone") and backbone not in plugins["backbone"]
        if unknown or backbone.startswith(FAMILIES):
            return None
        return f"prompts pass through the blocks of a ViT or a Swin, which {backbone} is not"

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """The update after the last block, in the variant that has one."""
        plain = isinstance(self.prompted, PromptedViT)
        last = len(self.prompted.channel) - 1
        return (f"prompted.channel.{last}.out.",) if plain and "unused_update" in self.quirks else ()

    @property
    def task_blocks(self) -> dict[str, tuple[int | tuple[int, ...], Sequence[str]]]:
        """The prompts, and layers that mix the maps of all of them."""
        tasks, mixing = list(self.tasks), r"prompted.merging."
        blocks: dict[str, tuple[int | tuple[int, ...], Sequence[str]]] = {"prompts": (0, tasks)}
        for name, parameter in self.named_parameters():
            if name.startswith(mixing) and ".spatial." in name:
                blocks[name] = ((0, 1) if parameter.ndim > 1 else 0, tasks)
        return blocks

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        size = (images.shape[-2], images.shape[-1])
        final = {}
        for task, f in self.task_features(images).items():
            finer = (f.shape[-2] * self.enlarge, f.shape[-1] * self.enlarge)
            final[task] = resize(self.final_logits[task](self.project[task](f, finer)), size)
        return Outputs(final)

    def task_features(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, H, W) -> task -> (B, F, h, w) at the finest level (Swin: 1/4)."""
        self._check_images(images)
        if self.image_scale != 1:
            images = F.interpolate(
                images, scale_factor=self.image_scale, mode="bilinear", align_corners=False
            )
        levels = self.prompted(self.backbone, images, self.prompts)
        found = [read(level) for read, level in zip(self.levels, levels, strict=True)]
        maps = {task: summed([f[task] for f in found]) for task in self.tasks}
        return {task: merge(maps[task]) for task, merge in self.merge.items()} if self.merge else maps

    def _check_images(self, images: Tensor) -> None:
        if not isinstance(self.backbone, PlainViT | Swin):
            raise MtlbenchError(
                "prompts of taskprompter pass through the backbone's own blocks; the tuning has put "
                f"{type(self.backbone).__name__} in its place"
            )
        self.check_size((images.shape[-2], images.shape[-1]))

    def check_size(self, size: tuple[int, int]) -> None:
        """See `Method.check_size`."""
        if "fixed_size" in self.quirks and size != self.input_size:
            raise MtlbenchError(
                "variant `published` of taskprompter takes images of `input_size` "
                f"{self.input_size[0]}x{self.input_size[1]} only, got {size[0]}x{size[1]}: set `input_size`, "
                "or take `corrected`"
            )


def summed(maps: Sequence[Tensor]) -> Tensor:
    """All (B, F, h_l, w_l) at the size of the first, the finest: (B, F, h_0, w_0)."""
    first, *rest = maps
    return sum((resize(x, first.shape[-2:]) for x in rest), first)


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _is_plain(backbone: Backbone) -> bool:
    """Whether it is a plain ViT, not a Swin.

    Raises:
        MtlbenchError: it is neither.
    """
    if isinstance(backbone, PlainViT | Swin):
        return isinstance(backbone, PlainViT)
    fitting = ", ".join(name for name in plugins["backbone"] if name.startswith(FAMILIES))
    raise MtlbenchError(
        "taskprompter needs a plain ViT or a Swin, through whose blocks prompts pass, got "
        f"{type(backbone).__name__}: take one of {fitting}"
    )

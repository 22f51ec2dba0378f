"""TaskPrompter: whole networks with small plain ViTs and Swins."""

import math
from functools import partial
from typing import Any

import torch
from golden_cases import Case
from mtlbench.methods.taskprompter.taskprompter import TaskPrompter
from timm.models.swin_transformer import SwinTransformer, WindowAttention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mtlbench.backbones.swin import Swin
from mtlbench.backbones.vit_timm import TimmViT
from mtlbench.resizing import resize

SENSITIVE = "prompts"
DEAD = r"\.(relative_position_index|attn_mask)$"


def build(case: Case) -> TaskPrompter:
    options = case.spec["options"]
    plain = "vit" in options
    own: dict[str, Any] = (
        {"embed_dim": options["embed_dim"], "reweight": options["use_ctr"]}
        if plain
        else {
            "embed_dim": options["level_embed_dim"],
            "channel_dim": options["chan_embed_dim"],
            "image_scale": options["img_ds_ratio"],
        }
    )
    return TaskPrompter(
        vit(case) if plain else swin(case),
        case.tasks(),
        variant="published",
        input_size=size(case),
        final_dim=options["final_embed_dim"],
        channel_heads=options["chan_nheads"],
        prompt_length=options["prompt_len"],
        head=options["head"],
        **own,
    )


@torch.no_grad()
def outputs(case: Case, network: TaskPrompter) -> dict[str, Tensor]:
    """Predictions, and features as the last layers take them."""
    (images,) = case.inputs()
    features = network.task_features(images)
    finer = {t: resize(f, [n * network.enlarge for n in f.shape[-2:]]) for t, f in features.items()}
    found = {f"out.{t}": x for t, x in network(images).final.items()}
    return found | {f"task_features.{t}": x for t, x in finer.items()}


def size(case: Case) -> tuple[int, int]:
    height, width = case.spec["inputs"][0]["shape"][-2:]
    return height, width


def vit(case: Case) -> TimmViT:
    """Of the case's image size; the list of its taps counts blocks from 1 and leaves the last one out."""
    wanted = case.spec["options"]["vit"]
    trunk = VisionTransformer(
        img_size=size(case),
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=wanted["ln_eps"]),
        **{
            name: wanted[name]
            for name in ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias")
        },
    )
    return TimmViT(trunk, (*(block - 1 for block in wanted["select_list"]), wanted["depth"] - 1))


def swin(case: Case) -> Swin:
    """With tables of positions as large as the case's: the published ones are smaller on small maps."""
    wanted = case.spec["options"]["swin"]
    trunk = SwinTransformer(
        img_size=size(case),
        num_classes=0,
        window_size=wanted["window_size"],
        embed_dim=wanted["embed_dim"],
        depths=wanted["depths"],
        num_heads=wanted["num_heads"],
        drop_path_rate=wanted["drop_path_rate"],
        strict_img_size=False,
        always_partition=True,
    )
    for i, stage in enumerate(trunk.layers):
        table = case.shapes[f"backbone.layers.{i}.blocks.0.attn.relative_position_bias_table"]
        side = (math.isqrt(table[0]) + 1) // 2
        for block in stage.blocks if side != wanted["window_size"] else []:
            block.attn = WindowAttention(block.attn.dim, block.attn.num_heads, window_size=side)
    return Swin(trunk)

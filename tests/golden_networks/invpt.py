"""InvPT: whole networks with small plain ViTs, and the decoder alone."""

from functools import partial

import torch
from golden_cases import Case
from mtlbench.methods.invpt import InvPT
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.backbones.vit_timm import TimmViT
from mtlbench.resizing import resize

SENSITIVE = "pyramid.stages.0.attention.proj_v.weight"


def build(case: Case) -> InvPT:
    options = case.spec["options"]
    mlp = case.shapes[f"{prefix(case)}invpt.invpt_stages.0.blocks.0.mlp.fc1.weight"]
    network = InvPT(
        vit(case) if case.kind == "model" else Maps(options["backbone_channels"]),
        case.tasks(),
        variant="published",
        embed_dim=options["embed_dim"],
        extra_channels=options["PRED_OUT_NUM_CONSTANT"],
        heads=case.shapes[f"{prefix(case)}invpt.invpt_stages.1.blocks.0.attn.fuse_attn.weight"][0],
        mlp_ratio=mlp[0] // mlp[1],
        downsample=options["mtt_resolution_downsample_rate"],
    )
    if case.kind == "head":  # what follows the decoder is not in the case
        network.final_logits = nn.ModuleDict()
    return network


@torch.no_grad()
def outputs(case: Case, network: InvPT) -> dict[str, Tensor]:
    """Of whole networks all at the image's size; of the decoder alone as they are, before the last layer."""
    if case.kind == "head":
        sizes = case.spec["options"]["spatial_dim"]
        maps = [x.transpose(1, 2).unflatten(2, size) for x, size in zip(case.inputs(), sizes, strict=True)]
        z, preliminary = network.task_features(maps)
        return {f"task_features.{t}": x for t, x in z.items()} | named(preliminary)
    (images,) = case.inputs()
    found = network(images)
    size = (images.shape[-2], images.shape[-1])
    return found.final | named({t: resize(x, size) for t, x in found.auxiliary["inter_preds"].items()})


def named(preliminary: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"inter_preds.{t}": x for t, x in preliminary.items()}


def prefix(case: Case) -> str:
    return "multi_task_decoder." if case.kind == "model" else ""


def vit(case: Case) -> TimmViT:
    """Of the case's image size; the list of its taps counts blocks from 1 and leaves the last one out."""
    wanted = case.spec["options"]["vit"]
    trunk = VisionTransformer(
        img_size=tuple(case.spec["inputs"][0]["shape"][-2:]),
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=wanted["ln_eps"]),
        **{
            name: wanted[name]
            for name in ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias")
        },
    )
    return TimmViT(trunk, (*(block - 1 for block in wanted["select_list"]), wanted["depth"] - 1))


class Maps(Backbone):
    """The widths of a plain ViT's maps and nothing else."""

    strides = (16, 16, 16, 16)

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

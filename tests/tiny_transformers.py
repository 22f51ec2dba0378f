"""A plain ViT and a Swin of a few thousand parameters, for images of 64x96."""

from typing import Any

from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

from mtlbench.backbones.swin import Swin
from mtlbench.backbones.vit_timm import TimmViT


def vit(size: tuple[int, int] = (64, 96)) -> TimmViT:
    trunk = VisionTransformer(img_size=size, embed_dim=8, depth=4, num_heads=2, num_classes=0)
    return TimmViT(trunk, (0, 1, 2, 3))


def swin(**options: Any) -> Swin:
    trunk = SwinTransformer(
        img_size=(64, 96),
        embed_dim=8,
        depths=(1, 1, 2, 2),
        num_heads=(2, 2, 4, 4),
        window_size=3,
        num_classes=0,
        drop_path_rate=0.0,
        strict_img_size=False,
        always_partition=True,
    )
    return Swin(trunk, **options)

"""Networks tuned by MTLoRA: its Swin, whose maps are taken after patch merging, and its decoder."""

from typing import Any

import torch
from golden_cases import Case
from mtlbench.methods.multi_task import MultiTask
from mtlbench.tunings.mtlora import MTLoRA
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from mtlbench.backbones.swin import Swin
from mtlbench.model import Method

DEAD = r"\.(attn_mask|relative_position_index)$"


def untuned(case: Case) -> MultiTask:
    """Blocks for maps not larger than a window have a window of that size, as in the case's code."""
    options, sizes = case.spec["options"], case.spec["options"]["model"]["SWIN"]
    trunk = SwinTransformer(
        img_size=options["img_size"],
        patch_size=sizes["PATCH_SIZE"],
        embed_dim=sizes["EMBED_DIM"],
        depths=tuple(sizes["DEPTHS"]),
        num_heads=tuple(sizes["NUM_HEADS"]),
        window_size=sizes["WINDOW_SIZE"],
        mlp_ratio=sizes.get("MLP_RATIO", options.get("mlp_ratio", 4.0)),
        qkv_bias=sizes.get("QKV_BIAS", True),
        num_classes=0,
    )
    widths = tuple(options["decoder_channels"])
    backbone = Swin(trunk, taps="after_merging")
    return MultiTask(backbone, case.tasks(), head="mtlora", head_channels=widths)


def build(case: Case) -> Method:
    options = case.spec["options"]["model"]["MTLORA"]
    tuning = MTLoRA(
        r=ranks(options, "shared"),
        task_r={task: ranks(options, task) for task in case.spec["tasks"]},
        scale=by_stage(options["SHARED_SCALE"]),
        task_scale={task: scales(options, task) for task in case.spec["tasks"]},
        mode=options["SHARED_MODE"],
        low_rank_merging=options["DOWNSAMPLER_ENABLED"],
        variant="published",
    )
    return tuning.apply(untuned(case))


def by_stage(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def ranks(options: dict[str, Any], stream: str) -> Any:
    """Of a task, or `shared`."""
    return by_stage((options.get("R_PER_TASK") or {}).get(stream, options["R"]))


def scales(options: dict[str, Any], task: str) -> Any:
    """Without values by task it is the shared one: `TASK_SCALE` has no effect in the case's code."""
    return by_stage((options.get("SCALE_PER_TASK") or {}).get(task, options["SHARED_SCALE"]))


@torch.no_grad()
def outputs(case: Case, network: Any) -> dict[str, Tensor]:
    """Predictions, and what stages give with their patch merging: all streams, as tokens (B, L, C)."""
    (images,) = case.inputs()
    named = {f"out.{task}": value for task, value in network(images).final.items()}
    own = network.backbone(images)
    for task, maps in own.items() if isinstance(own, dict) else ():  # `lora_only` has none
        named |= {f"stage{i}.{task}": tokens(x) for i, x in enumerate(maps)}
    trunk = getattr(network.backbone, "trunk", network.backbone)
    running = trunk.staged(images)
    (x,) = next(running)
    for i in range(len(network.backbone.channels)):
        (streams,) = running.send([x])
        x = streams[: len(images)]
        named[f"stage{i}.shared"] = tokens(trunk.as_map(i, x, images.shape[-2:]))
    return named


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)

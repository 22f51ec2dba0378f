"""SegNets of MTAN's benchmark. Published networks have activations inside, and count their tasks."""

import re
from dataclasses import replace

import torch
from golden_cases import Case
from mtlbench.methods.layers.segnet_method import SegNetMethod
from mtlbench.methods.mtan_segnet import MTANSegNet
from mtlbench.methods.segnet import SegNet
from torch import Tensor, nn
from torch.nn import functional as F

from mtlbench.tasks import Task, depth

SENSITIVE = ""  # the first parameter


def build(case: Case) -> SegNetMethod:
    shapes = {key.removeprefix("segnet."): shape for key, shape in case.shapes.items()}
    widths = _widths(shapes)
    kept: dict[str, str] = {"variant": "published"} if "logsigma" in shapes else {}
    if any(key.startswith("encoder_att.") for key in shapes):
        network: SegNetMethod = MTANSegNet(None, _tasks(shapes), widths=widths, **kept)  # type: ignore[arg-type]
    else:
        layout = _layout(shapes)
        if layout in ("dense", "cross") and not kept:
            kept = {"variant": "published", "without": ("unused_weights",)}  # type: ignore[dict-item]
        network = SegNet(None, _tasks(shapes), layout=layout, widths=widths, **kept)  # type: ignore[arg-type]
    if "logsigma" in shapes:
        network.logsigma = nn.Parameter(torch.zeros(shapes["logsigma"]))
    return network


@torch.no_grad()
def outputs(case: Case, network: SegNetMethod) -> dict[str, Tensor]:
    """Each prediction with its activation, and the parameter that the published network returns too."""
    meanings = case.spec["options"]["output_names"]
    made = list(network(case.inputs()[0]).final.values())
    named = {}
    for name in case.spec["outputs"]:
        if re.match("logsigma", meanings[name]):
            named[name] = network.logsigma.detach()
        else:
            last = name.rpartition(".")[-1]  # 0.1 or 1: of two predictions the second
            x = made[int(last) if last.isdigit() else 0]
            named[name] = _activated(x, meanings[name])
    return named


def _activated(x: Tensor, meaning: str) -> Tensor:
    if "log-prob" in meaning:
        return F.log_softmax(x, dim=1)
    return x / x.norm(dim=1, keepdim=True) if "unit length" in meaning else x


def _widths(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Of the encoder's stages: what their first convolutions give."""
    key = next(
        form
        for form in ("encoder_block_t.0.{}.0.weight", "encoder_block.{}.0.weight")
        if form.format(0) in shapes
    )
    return tuple(shapes[key.format(k)][0] for k in range(5))


def _layout(shapes: dict[str, tuple[int, ...]]) -> str:
    if "encoder_block_t.0.0.0.weight" in shapes:
        return "cross" if "cs_unit_encoder" in shapes else "dense"
    return "deep" if "encoder_block.0.3.weight" in shapes else "standard"  # wide: by its widths


def _tasks(shapes: dict[str, tuple[int, ...]]) -> dict[str, Task]:
    found = (re.fullmatch(r"(pred_task\d*)\.1\.weight", key) for key in shapes)
    return {
        match[1]: replace(depth(), name=match[1], channels=shapes[match[0]][0]) for match in found if match
    }

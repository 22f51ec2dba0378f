"""What attention between tasks costs as tasks and pixels grow: tables and figure of docs/inter_task_cost.md.

    python benchmarks/growth.py [--write]

Counted on tensors without content: multiply-accumulates of all matrix products and convolutions, and of what
`grid_sample` does, which the usual counters take for nothing: 5 for each channel of each place that is read
(four to interpolate, one to weigh). Timed: one layer, forward and backward, float32, one thread, on the
smallest grid; with the largest tensor that it makes.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from mtlbench.methods.ditasa import DITASA
from mtlbench.methods.layers.inter_task import DeformableAttention, FullAttention, WindowedAttention
from mtlbench.methods.layers.shared_context import SharedContext
from mtlbench.methods.layers.windows import plain_and_shifted
from mtlbench.methods.mtlsi_net import LinearInteraction
from mtlbench.reports.figures.style import MARKERS, PALETTE
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.backbones.build import build_backbone
from mtlbench.profiling import count_macs, count_parameters
from mtlbench.registry import registry
from mtlbench.tasks import Task
from mtlbench.testing import tiny_tasks
from mtlbench.testing.watching import LargestTensor

DIM, HEADS, POINTS, WINDOW, TOKENS = 256, 8, 4, 7, 512
NYUD = (448, 576)
CHANNELS = {"semseg": 40, "depth": 1, "normals": 3, "edge": 1}
STRIDES, COUNTS = (16, 8, 4), (1, 2, 4, 8)
READ = 5
"""Multiply-accumulates for a channel of a place that is read between four pixels and weighed."""
ROOT = Path(__file__).parent.parent
PAGE, PICTURE = ROOT / "docs" / "inter_task_cost.md", ROOT / "docs" / "images" / "inter_task_cost.png"
MARKS = "<!-- made by benchmarks/growth.py -->", "<!-- end -->"
Size = tuple[int, int]
Layer = Callable[[dict[str, Tensor]], Any]


def layers(tasks: tuple[str, ...]) -> dict[str, tuple[nn.Module, Callable[[nn.Module], Layer]]]:
    """Name -> what joins the tasks' maps, and how it is called."""

    def with_places(layer: nn.Module) -> Layer:
        return lambda maps: layer(maps, maps)

    def block(layer: nn.Module) -> Layer:
        return lambda maps: layer(maps, plain_and_shifted(next(iter(maps.values())), WINDOW)[0])

    return {
        "full": (FullAttention(tasks, DIM, HEADS), with_places),
        "window": (WindowedAttention(tasks, DIM, HEADS, window=WINDOW), with_places),
        "deformable": (DeformableAttention(tasks, DIM, HEADS, points=POINTS), with_places),
        "linear": (SharedContext(DIM, HEADS, (1, 3, 5)), lambda layer: layer),
        "linear, tokens, windows": (LinearInteraction(DIM, HEADS, TOKENS, (1, 3, 5), WINDOW, 4), block),
    }


def names(count: int) -> tuple[str, ...]:
    return tuple(f"task{i}" for i in range(count))


def macs(kind: str, count: int, size: Size) -> int:
    """Multiply-accumulates of one layer for `count` tasks' maps of a size, one image."""
    with torch.device("meta"):
        layer, call = layers(names(count))[kind]
        maps = {t: torch.empty(1, *size, DIM) for t in names(count)}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call(layer)(maps)
    return counter.get_total_flops() // 2 + (sampled(count, size) if kind == "deformable" else 0)


def sampled(count: int, size: Size) -> int:
    """What reading and weighing costs: every token of every task, its places in every task's map."""
    return READ * count * size[0] * size[1] * count * POINTS * DIM


def grid(stride: int) -> Size:
    return NYUD[0] // stride, NYUD[1] // stride


def table_of_growth() -> str:
    """GMACs of one layer."""
    kinds = list(layers(names(1)))
    lines = [
        f"| grid | tasks | {' | '.join(kinds)} | full / deformable |",
        "| :--- | ---: |" + " ---: |" * (len(kinds) + 1),
    ]
    for stride in STRIDES:
        height, width = grid(stride)
        for count in COUNTS:
            found = {kind: macs(kind, count, (height, width)) / 1e9 for kind in kinds}
            shown = " | ".join(f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in found.values())
            ratio = found["full"] / found["deformable"]
            lines.append(f"| 1/{stride} ({height}x{width}) | {count} | {shown} | {ratio:.1f} |")
    return "\n".join(lines)


def table_of_networks() -> str:
    """Whole networks at NYUD size."""
    tasks: dict[str, Task] = {
        t: replace(tiny_tasks()["depth"], name=t, channels=k) for t, k in CHANNELS.items()
    }
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("ditasa", "", {}),
        ("ditasa", "attention: full", {"attention": "full"}),
        ("ditasa", "attention: window", {"attention": "window"}),
        ("mtlsi_net", "", {}),
        ("invpt", "", {}),
        ("invpt", "embed_dim: 384", {"embed_dim": 384}),
        ("mtformer", "", {}),
        ("mult", "", {}),
        ("demt", "", {}),
        ("multi_task", "", {}),
    ]
    lines = [
        "| method | options | decoder, M parameters | whole, M | decoder, GMACs | of these reading places |",
        "| :--- | :--- | ---: | ---: | ---: | ---: |",
    ]
    with torch.device("meta"):
        encoder = build_backbone("swin-t")
        inside, alone = count_parameters(encoder)[0], count_macs(encoder, NYUD)
        for name, text, options in rows:
            network = registry.load("method", name)(build_backbone("swin-t"), tasks, **options)
            whole, reading = count_parameters(network)[0], 0
            if isinstance(network, DITASA) and network.attention == "deformable":
                reading = len(network.blocks) * sampled(len(tasks), grid(8))
            work = count_macs(network, NYUD) - alone + reading
            lines.append(
                f"| `{name}` | {text and f'`{text}`'} | {(whole - inside) / 1e6:.2f} | {whole / 1e6:.2f} | "
                f"{work / 1e9:.1f} | {reading / 1e9:.1f} |"
            )
    return "\n".join(lines)


def table_of_time(count: int = 4, stride: int = 16, rounds: int = 3) -> str:
    """Seconds of one layer, forward and backward, and its largest tensor."""
    lines = ["| layer | forward and backward, s | largest tensor, MB |", "| :--- | ---: | ---: |"]
    for kind, (layer, call) in layers(names(count)).items():
        maps = {t: torch.randn(1, *grid(stride), DIM, requires_grad=True) for t in names(count)}
        seconds = []
        for _ in range(rounds):
            start = time.process_time()
            found = call(layer)(maps)
            torch.stack([x.square().mean() for x in found.values()]).sum().backward()
            seconds.append(time.process_time() - start)
        with LargestTensor() as largest:
            call(layer)(maps)
        lines.append(f"| {kind} | {min(seconds):.2f} | {largest.elements * 4 / 1e6:.0f} |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """GMACs over tasks, at 1/8, and over pixels, of four tasks; both axes logarithmic."""
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True, layout="constrained")
        sizes = [(n, n) for n in (14, 28, 56, 112)]
        for i, kind in enumerate(layers(names(1))):
            style = {
                "color": PALETTE[i],
                "marker": MARKERS[i],
                "markersize": 4,
                "linewidth": 1.2,
                "label": kind,
            }
            axes[0].plot(COUNTS, [macs(kind, n, grid(8)) / 1e9 for n in COUNTS], **style)
            axes[1].plot([h * w for h, w in sizes], [macs(kind, 4, s) / 1e9 for s in sizes], **style)
        for axis, label in zip(axes, ("tasks, maps of 56x72", "tokens a task, 4 tasks"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel=label)
        axes[0].set_xticks(COUNTS, labels=[str(n) for n in COUNTS])
        axes[0].minorticks_off()
        axes[0].set_ylabel("GMACs of one layer")
        axes[1].legend(frameon=False, fontsize=7)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/inter_task_cost.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {"growth": table_of_growth(), "networks": table_of_networks(), "time": table_of_time()}
    for name, table in found.items():
        print(f"{name}\n{table}\n")
    if arguments.write:
        draw(PICTURE)
        text = PAGE.read_text(encoding="utf-8")
        for name, table in found.items():
            begin = MARKS[0].replace("made", f"{name}: made")
            pattern = re.escape(begin) + ".*?" + re.escape(MARKS[1])
            text = re.sub(pattern, f"{begin}\n\n{table}\n\n{MARKS[1]}", text, flags=re.DOTALL)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

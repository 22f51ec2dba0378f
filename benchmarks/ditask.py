"""What a training step with DITASK costs beside one with LoRA, on the same network and images.

A step: forward pass of Swin-T with MTLoRA's decoders (`multi_task`, `head: mtlora`) for the four tasks of
PASCAL-Context, the tasks' losses, backward pass, AdamW. All tunings take turns in one process; times are CPU
time on one thread, medians. `ditask, no tasks` is DITASK without maps of tasks: like LoRA's, its encoder has
one stream of tokens. `ditask` has in the last block of each stage a stream and full weights for each task,
which LoRA has not; `lora per task` is what gives LoRA weights for each task: a pass of the encoder for each.

    python benchmarks/ditask.py [--sizes N ...] [--batch N] [--rounds N] [--backbone NAME] [--profile]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from mtlbench.allocation import keep_freed_memory
from mtlbench.profiling.timing import random_batch
from mtlbench.registry import registry

TASKS = ("semseg", "human_parts", "sal", "normals")
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"r": 4}),
    "ditask, no tasks": ("ditask", {"task_cells": None}),
    "ditask": ("ditask", {}),
    "mtlora": ("mtlora", {"r": 4}),
    "lora per task": ("lora", {"r": 4, "per_task": True}),
}


def make_step(
    tuning: str, options: dict[str, Any], backbone: str, size: int, batch: int
) -> Callable[[], None]:
    """One training step of a tuned network."""
    torch.manual_seed(0)
    known = registry.load("dataset", "pascal_context").tasks
    tasks = {name: known[name] for name in TASKS}
    trunk = registry.load("backbone", backbone)(taps="after_merging")
    network = registry.load("method", "multi_task")(trunk, tasks, head="mtlora")
    network = registry.load("tuning", tuning)(**options).apply(network).train()
    batch_of = random_batch(tasks, (size, size), batch, torch.device("cpu"))
    images = network.normalise(batch_of["image"])
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        final = network(images).final
        losses = [task.loss(final[name], batch_of[name]) for name, task in tasks.items()]
        torch.stack(losses).sum().backward()
        optimizer.step()

    return step


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Seconds of CPU time of each, medians over rounds in which all take turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # DITASK takes the weights apart
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def show_profile(step: Callable[[], None]) -> None:
    """Operations by their own CPU time."""
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 224])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="swin-t")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--profile", action="store_true", help="of one step of each")
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    print("| tuning | size | batch | s a step | of lora |\n|---|---|---|---|---|")
    for size in given.sizes:
        steps = {name: make_step(*CONTENDERS[name], given.backbone, size, given.batch) for name in given.only}
        if given.profile:
            for name, step in steps.items():
                print(name)
                show_profile(step)
            continue
        found = measure(steps, given.rounds)
        for name, seconds in found.items():
            ratio = f"{seconds / found['lora']:.2f}" if "lora" in found else "-"
            print(f"| {name} | {size} | {given.batch} | {seconds:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()

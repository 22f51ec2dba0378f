"""Training samples a second: ours, with and without decoded samples, beside the published pipeline.

Rooms are written in the layout NYUDv2 (png files), at full size. Each pipeline makes batches of 4 for four
tasks until the normalised float32 image and labels as values stand ready: ours defers normalisation and the
decoding of normals to the device, and is charged for both, on the CPU; with workers the main process does
them. Pipelines take turns, so that what else the machine does hits all alike; medians over rounds.

Run: python benchmarks/data_pipeline.py [--size 425x560] [--images 24] [--rounds 5]
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import torch
from mtlbench.datasets.files import parse_size
from mtlbench.datasets.layouts import write_nyud
from mtlbench.datasets.nyud import NYUD
from published_pipeline import PublishedPipeline
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mtlbench.backbones.base import normalise
from mtlbench.data import Batch, collate, unpack

TASKS = ("semseg", "depth", "normals", "edge")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 4


class Ours(Dataset[object]):
    """Transformed samples of the data set `nyud`."""

    def __init__(self, root: Path, size: str, cache: str) -> None:
        os.environ["MTLBENCH_CACHE"] = cache
        NYUD.cache(root=str(root), size=size)
        self.data = NYUD("train", TASKS, root=str(root), size=size)
        self.transform = NYUD.transforms["atrc"](self.data.size)
        self.data[0]  # looks for decoded samples while the variable says where

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> object:
        return self.transform(self.data[index])

    @staticmethod
    def collate(samples: list[object]) -> Batch:
        """What a worker sends."""
        return collate(samples, NYUD.tasks)  # type: ignore[arg-type]

    @staticmethod
    def finish(batch: Batch) -> Batch:
        """What is deferred to the device."""
        return {**unpack(batch, NYUD.tasks), "image": normalise(batch["image"], MEAN, STD)}


class Published(Dataset[dict[str, Tensor]]):
    """The published pipeline on the same files."""

    def __init__(self, root: Path, size: str) -> None:
        self.ids = (root / "gt_sets" / "train.txt").read_text().split()
        self.pipeline = PublishedPipeline(root, parse_size(size))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.pipeline(self.ids[index])

    @staticmethod
    def collate(samples: list[dict[str, Tensor]]) -> Batch:
        """Stacked maps."""
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    @staticmethod
    def finish(batch: Batch) -> Batch:
        """Nothing is deferred."""
        return batch


def in_process(pipeline: Ours | Published, seconds: float) -> float:
    """Images a processor second, in this process."""
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        samples = [pipeline[(done + i) % len(pipeline)] for i in range(BATCH)]
        pipeline.finish(pipeline.collate(samples))  # type: ignore[arg-type]
        done += BATCH
    return done / (time.process_time() - start)


def with_workers(pipeline: Ours | Published, workers: int, seconds: float) -> float:
    """Images a second of wall time from a DataLoader, after its first batches."""
    loader = DataLoader(
        pipeline, BATCH, sampler=_forever(len(pipeline)), num_workers=workers, collate_fn=pipeline.collate
    )
    batches = iter(loader)
    for _ in range(2 * workers + 1):
        next(batches)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        pipeline.finish(next(batches))
        done += BATCH
    return done / (time.perf_counter() - start)


class _forever:
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from range(self.count)


def _one_thread(_: int = 0) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="425x560", help="of training crops")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    _one_thread()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "NYUDv2"
        write_nyud(root, train=chosen.images, val=1)
        pipelines: dict[str, Ours | Published] = {
            "published": Published(root, chosen.size),
            "ours, decoding each time": Ours(root, chosen.size, "off"),
            "ours, decoded once": Ours(root, chosen.size, str(Path(folder) / "cache")),
        }
        modes: dict[str, Callable[[Ours | Published], float]] = {
            "in process (CPU time)": lambda p: in_process(p, chosen.seconds),
            "1 worker": lambda p: with_workers(p, 1, chosen.seconds),
            "2 workers": lambda p: with_workers(p, 2, chosen.seconds),
        }
        _print(chosen.size, pipelines, modes, chosen.rounds)


def _print(
    size: str,
    pipelines: dict[str, Ours | Published],
    modes: dict[str, Callable[[Ours | Published], float]],
    rounds: int,
) -> None:
    print(f"crops of {size}, images/s: median (lowest to highest of {rounds} rounds), ratio to published")
    for mode, measure in modes.items():
        found: dict[str, list[float]] = {name: [] for name in pipelines}
        for turn in range(rounds + 1):
            for name, pipeline in pipelines.items():
                rate = measure(pipeline)
                if turn:  # the first round compiles and warms up
                    found[name].append(rate)
        base = statistics.median(found["published"])
        for name, rates in found.items():
            median = statistics.median(rates)
            spread = f"({min(rates):.0f} to {max(rates):.0f})"
            print(f"{mode:>22}  {name:<26}{median:6.0f} {spread:<14} {median / base:.1f}x")


if __name__ == "__main__":
    main()

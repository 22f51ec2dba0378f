"""How fast rooms are made and read: scenes/s per core, milliseconds a sample.

Run: python benchmarks/rooms.py [--size 96x128] [--scenes 300]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from mtlbench.datasets.files import parse_size
from mtlbench.datasets.layouts import write_nyud
from mtlbench.datasets.nyud import NYUD
from mtlbench.datasets.rendering import compose, render
from mtlbench.datasets.rooms import Rooms

from mtlbench.data import Dataset, Transform


def seconds(work: Callable[[int], object], count: int) -> float:
    """Processor seconds of `work` per call, after one call to warm up."""
    work(0)
    start = time.process_time()
    for index in range(count):
        work(index)
    return (time.process_time() - start) / count


def changed(data: Dataset, transform: Transform, index: int) -> object:
    """One transformed sample; indices past the end start over."""
    return transform(data[index % len(data)])


def rendering(size: str, scenes: int) -> None:
    """Time the renderer, in one thread."""
    height, width = parse_size(size)
    drawing = seconds(lambda index: compose((0, 0, index), width / height), scenes)
    whole = seconds(lambda index: render(compose((0, 0, index), width / height), height, width), scenes)
    print(f"rendering {size}: {1 / whole:.0f} scenes/s per core ({drawing / whole:.0%} of it to compose)")


def reading(size: str, scenes: int) -> None:
    """Time samples of `Rooms` and its training transforms."""
    with tempfile.TemporaryDirectory() as root:
        rooms = Rooms("train", tuple(Rooms.tasks), root=root, train=scenes, size=size)
        print(f"rooms {size}: {seconds(lambda index: rooms[index], scenes) * 1e3:.3f} ms a sample")
        for name, make in Rooms.transforms.items():
            transform = make(rooms.size)
            spent = seconds(partial(changed, rooms, transform), scenes)
            print(f"rooms {size}, {name}: {spent * 1e3:.3f} ms a sample")


def archives() -> None:
    """Time samples of `NYUD` at the archives' size."""
    for flavour in ("NYUDv2", "NYUD_MT"):
        with tempfile.TemporaryDirectory() as root:
            write_nyud(root, train=24, val=1, flavour=flavour)
            data = NYUD("train", tuple(NYUD.tasks), root=root)
            transform = NYUD.transforms["atrc"](data.size)
            loading = seconds(partial(changed, data, lambda sample: sample), 72)
            whole = seconds(partial(changed, data, transform), 72)
            print(f"{flavour} 425x560: {loading * 1e3:.1f} ms to load, {whole * 1e3:.1f} ms with `atrc`")


def main() -> None:
    """Print all timings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="96x128")
    parser.add_argument("--scenes", type=int, default=300)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rendering(chosen.size, chosen.scenes)
    reading(chosen.size, chosen.scenes)
    archives()


if __name__ == "__main__":
    main()

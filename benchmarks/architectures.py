"""What training steps, inference and memory cost, beside the published computation of the same networks.

Each network (variant `published`) and its naive form (`naive`) have the same parameters and compute the same
numbers (`tests/test_naive_forms.py`). `train`: forward pass, the tasks' losses, backward pass, SGD step;
`infer`: forward pass without gradients. `whole` takes images; `head` takes a backbone's features, as the
backbone is the same for both, where a network has a head by itself. Both take turns in one process; memory is
measured in a process for each. Methods that need a backbone of some kind get that (`NaiveForm.backbone`).

On a CPU, time is the process's CPU time on one thread; on a GPU it is wall time, in float32 and bfloat16,
and with `torch.compile`.

    python benchmarks/architectures.py [--methods M ...] [--backbones B ...] [--size HxW] [--batch N]
                                       [--rounds N] [--no-memory] [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from naive import NAIVE
from torch import Tensor, nn

from mtlbench.allocation import keep_freed_memory
from mtlbench.backbones.build import build_backbone
from mtlbench.data import Batch
from mtlbench.model import Method, Outputs, laid_out
from mtlbench.profiling.timing import PeakMemory, random_batch
from mtlbench.registry import registry
from mtlbench.resizing import resize
from mtlbench.variants import PUBLISHED, quirks

OURS, PLAIN = FORMS = ("ours", "naive")
TRAIN, INFER = "train", "infer"
AT_ONE_SIZE = ("taskprompter",)
"""Methods whose published network is made for images of one size."""
Size = tuple[int, int]


@dataclass(frozen=True)
class Mode:
    """How networks are run."""

    precision: str = "fp32"
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.precision} compiled" if self.compiled else self.precision


MODES = {"cpu": [Mode()], "cuda": [Mode(), Mode("bf16"), Mode("bf16", compiled=True)]}


@dataclass(frozen=True)
class Load:
    """What is measured: one network on some images."""

    method: str
    backbone: str
    size: Size
    batch: int
    device: str
    mode: Mode = Mode()


@dataclass(frozen=True)
class Work:
    """One form of a network with what it is given."""

    part: str
    form: str
    train: Callable[[], None]
    infer: Callable[[], None]

    def run(self, what: str) -> None:
        (self.train if what == TRAIN else self.infer)()


@dataclass
class Seconds:
    """(what, part, form) -> seconds of each round."""

    found: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def add(self, key: tuple[str, str, str], seconds: float) -> None:
        self.found.setdefault(key, []).append(seconds)

    def ratio(self, what: str, part: str) -> float:
        """Naive over ours; the median of rounds, in which both ran one after the other."""
        pairs = zip(self.found[what, part, PLAIN], self.found[what, part, OURS], strict=True)
        return statistics.median(naive / ours for naive, ours in pairs)

    def spread(self, what: str, part: str) -> float:
        """How far apart the rounds' ratios are: quartiles' distance over the median."""
        pairs = zip(self.found[what, part, PLAIN], self.found[what, part, OURS], strict=True)
        low, middle, high = statistics.quantiles([naive / ours for naive, ours in pairs], n=4)
        return (high - low) / middle

    def median(self, what: str, part: str, form: str) -> float:
        return statistics.median(self.found[what, part, form])


def build(load: Load) -> Method:
    """A network as published, with random weights."""
    torch.manual_seed(0)
    known = registry.load("dataset", "nyud").tasks
    method = registry.load("method", load.method)
    options: dict[str, Any] = {"variant": PUBLISHED} if quirks(method) else {}
    if load.method in AT_ONE_SIZE:
        options["input_size"] = load.size
    backbone = build_backbone(load.backbone) if method.needs_backbone else None
    return method(backbone, dict(known), **options).to(load.device)


def works(load: Load, network: Method, parts: Iterable[str], forms: Iterable[str]) -> Iterator[Work]:
    """Of a whole network and of its head, ours and naive."""
    batch = random_batch(network.tasks, load.size, load.batch, torch.device(load.device))
    images = network.normalise(batch["image"])
    for form in forms:
        module: Any = network if form == OURS else NAIVE[load.method](network)
        given = images.contiguous(memory_format=torch.channels_last) if form == OURS else images
        for part in parts:
            yield work(load, network, part, form, module, given, batch)


def work(
    load: Load, network: Method, part: str, form: str, module: Any, images: Tensor, batch: Batch
) -> Work:
    if part == "whole":
        inputs: list[Any] = [images]
        parameters = list(network.parameters())
        call: Callable[..., Outputs] = module
    else:
        with torch.no_grad():
            features = network.train().backbone(images)
        inputs = [[laid_out(x).detach().requires_grad_() for x in features], load.size]
        parameters = [p for name, p in network.named_parameters() if not name.startswith("backbone.")]
        call = module.decode
    if load.mode.compiled:
        call = torch.compile(call)
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4)

    def forward() -> Outputs:
        with torch.autocast(load.device, torch.bfloat16, enabled=load.mode.precision == "bf16"):
            return call(*inputs)

    def train() -> None:
        module.train()
        total_loss(network, forward(), batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        module.eval()
        with torch.no_grad():
            forward()

    return Work(part, form, train, infer)


def total_loss(network: Method, outputs: Outputs, batch: Batch) -> Tensor:
    """Sum of all tasks' losses at all endpoints."""
    size = batch["image"].shape[-2:]
    losses = [network.tasks[t].loss(x.float(), batch[t]) for t, x in outputs.final.items()]
    for endpoint, values in outputs.auxiliary.items():
        for t, x in values.items():
            losses.append(network.auxiliary_loss(endpoint, t)(resize(x.float(), size), batch[t]))
    return torch.stack(losses).sum()


def measure(load: Load, parts: Sequence[str], rounds: int) -> Seconds:
    """Seconds of all work, each round in another order."""
    network = build(load)
    everything = list(works(load, network, parts, FORMS))
    seconds = Seconds()
    for number in range(-1 if load.device == "cpu" else -3, rounds):  # the first to warm up
        for part in parts:
            both = [w for w in everything if w.part == part]
            for what in (TRAIN, INFER):
                for one in both if number % 2 else reversed(both):
                    spent = clocked(one, what, load.device)
                    if number >= 0:
                        seconds.add((what, part, one.form), spent)
    return seconds


def clocked(one: Work, what: str, device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    synchronise(device)
    started = clock()
    one.run(what)
    synchronise(device)
    return clock() - started


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measure_memory(load: Load) -> dict[tuple[str, str], float]:
    """(what, form) -> peak MB of the whole network above an idle process, each in a process of its own."""
    found = {}
    for what in (TRAIN, INFER):
        for form in FORMS:
            size = f"{load.size[0]}x{load.size[1]}"
            command = [sys.executable, __file__, "--one", what, form, load.method, load.backbone]
            command += ["--size", size, "--batch", str(load.batch), "--device", load.device]
            command += ["--mode", str(MODES[load.device].index(load.mode))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[what, form] = float(done.stdout)
    return found


def peak_mb(what: str, form: str, load: Load) -> float:
    """Of two passes, with the network's weights, above what the process had before it was built."""
    registry.load("method", load.method)  # imports belong to before
    nn.Conv2d(1, 1, 1)(torch.zeros(1, 1, 1, 1)).sum().backward()
    memory = PeakMemory(torch.device(load.device))
    network = build(load)
    (only,) = works(load, network, ["whole"], [form])
    for _ in range(2):
        only.run(what)
    return memory.peak_mb()


def report(load: Load, parts: Sequence[str], rounds: int, *, memory: bool) -> list[float]:
    """Prints one row of the table; returns its ratios: naive over ours."""
    measured = [part for part in parts if part in NAIVE[load.method].parts]
    seconds = measure(load, measured, rounds)
    own = seconds.median(TRAIN, parts[0], OURS)
    ratios = [
        seconds.ratio(what, part) if part in measured else math.nan
        for part in parts
        for what in (TRAIN, INFER)
    ]
    noise = max(seconds.spread(what, part) for part in measured for what in (TRAIN, INFER))
    cells = [load.method, load.backbone, str(load.mode), f"{own:.2f}", *map(number, ratios)]
    if memory:
        peaks = measure_memory(load)
        against = [peaks[what, PLAIN] / peaks[what, OURS] for what in (TRAIN, INFER)]
        ratios += against
        cells += [f"{peaks[TRAIN, OURS]:.0f}", *map(number, against)]
    print(f"| {' | '.join([*cells, f'{100 * noise:.0f} %'])} |", flush=True)
    return ratios


def number(ratio: float) -> str:
    """A dash for what was not measured."""
    return "-" if math.isnan(ratio) else f"{ratio:.2f}"


def header(parts: Sequence[str], *, memory: bool) -> str:
    names = ["method", "backbone", "mode", "our step, s"]
    names += [f"{part} {what}" for part in parts for what in (TRAIN, INFER)]
    if memory:
        names += ["our peak, MB", f"memory {TRAIN}", f"memory {INFER}"]
    names.append("spread")
    rule = [":---"] * 3 + ["---:"] * (len(names) - 3)
    return f"| {' | '.join(names)} |\n| {' | '.join(rule)} |"


def print_means(rows: Sequence[Sequence[float]], mode: Mode, *, memory: bool) -> None:
    """Geometric means of the columns of ratios."""
    columns = [[r for r in column if not math.isnan(r)] for column in zip(*rows, strict=True)]
    means = [math.exp(statistics.fmean(map(math.log, c))) if c else math.nan for c in columns]
    texts = list(map(number, means))
    if memory:
        texts.insert(len(texts) - 2, "")
    print(f"| geometric mean | | {mode} | | {' | '.join(texts)} | |")


def parse_size(text: str) -> Size:
    height, width = text.split("x")
    return int(height), int(width)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(NAIVE), choices=list(NAIVE))
    parser.add_argument("--backbones", nargs="+", default=["hrnet18", "swin-t"])
    parser.add_argument("--size", type=parse_size, default=(212, 280))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--quick", action="store_true", help="small images, three rounds, no memory")
    parser.add_argument("--device", choices=list(MODES), default="cpu")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--mode", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def networks(methods: Sequence[str], backbones: Sequence[str]) -> list[tuple[str, str]]:
    """(method, backbone): every method with all of them, but those that need one of some kind with that."""
    free = [m for m in methods if NAIVE[m].backbone is None]
    rest = [(m, kind) for m in methods if (kind := NAIVE[m].backbone) is not None]
    return [*((m, backbone) for backbone in backbones for m in free), *rest]


def main() -> None:
    given = options()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    modes = MODES[given.device]
    if given.one:
        what, form, method, backbone = given.one
        load = Load(method, backbone, given.size, given.batch, given.device, modes[given.mode])
        print(peak_mb(what, form, load))
        return
    if given.quick:
        given.size, given.rounds, given.memory = (64, 96), 3, False
    parts = ("whole", "head")
    print(header(parts, memory=given.memory))
    for mode in modes:
        rows = []
        for method, backbone in networks(given.methods, given.backbones):
            load = Load(method, backbone, given.size, given.batch, given.device, mode)
            rows.append(report(load, parts, given.rounds, memory=given.memory))
        print_means(rows, mode, memory=given.memory)


if __name__ == "__main__":
    main()

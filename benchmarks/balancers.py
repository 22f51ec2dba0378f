"""What a training step costs with each balancer, against equal weights, beside TorchJD and LibMTL.

A step is: forward pass, losses, the balancer's backward passes, an Adam step over all parameters. All
contenders train one network in one process, in shuffled order, with equal weights in between; a ratio is a
median over the median of equal weights.

Run: python benchmarks/balancers.py [--network resnet18|degmix] [--sweeps 7] [--memory] [--only PATTERN]
"""

from __future__ import annotations

import argparse
import fnmatch
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from balancer_contenders import NETWORKS, Contender, Workload, contenders

from mtlbench.allocation import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet18")
    parser.add_argument("--sweeps", type=int, default=7)
    parser.add_argument("--only", default="*", help="names to measure, e.g. 'ours*pcgrad*'")
    parser.add_argument("--memory", action="store_true", help="peak memory, each in a process of its own")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    if options.one:
        print_memory(options.network, options.one)
        return
    workload = NETWORKS[options.network]()
    chosen = [c for c in contenders(workload) if fnmatch.fnmatch(c.name, options.only)]
    if options.memory:
        measure_memory(options.network, [c.name for c in chosen])
    else:
        measure_time(workload, chosen, options.sweeps)


def measure_time(workload: Workload, chosen: list[Contender], sweeps: int) -> None:
    """Prints a line per contender: ratio of CPU (or GPU wall) time and of wall time, to equal weights."""
    equal = next(c for c in contenders(workload) if c.name == "ours equal")
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    working = [equal]
    for contender in [c for c in chosen if c.name != equal.name]:
        try:
            for index in range(2):  # the first step of ours also tries what is faster
                contender.step(index)
            working.append(contender)
        except Exception as error:
            print(f"{contender.name:42s} fails: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
    for sweep in range(sweeps):
        order = working[1:]
        random.Random(sweep).shuffle(order)
        for position, contender in enumerate(order):
            if position % 4 == 0:
                clocked(equal, sweep, wall, cpu)
            clocked(contender, sweep, wall, cpu)
    reference = statistics.median(wall[equal.name]), statistics.median(cpu[equal.name])
    print(f"equal weights: {1000 * reference[0]:.0f} ms wall, {1000 * reference[1]:.0f} ms CPU a step")
    print(f"{'':42s} {'CPU':>6s} {'wall':>6s} {'quickest':>9s}")
    for contender in working:
        ratios = [
            statistics.median(found[contender.name]) / against
            for found, against in ((cpu, reference[1]), (wall, reference[0]))
        ]
        quickest = min(wall[contender.name]) / min(wall[equal.name])
        print(f"{contender.name:42s} {ratios[0]:6.2f} {ratios[1]:6.2f} {quickest:9.2f}")


def clocked(
    contender: Contender, sweep: int, wall: dict[str, list[float]], cpu: dict[str, list[float]]
) -> None:
    """As many steps as the contender's rhythm has (weights every k steps: k), the mean of them."""
    synchronise()
    started = time.perf_counter(), time.process_time()
    for index in range(contender.rhythm):
        contender.step(sweep * contender.rhythm + index)
    synchronise()
    wall.setdefault(contender.name, []).append((time.perf_counter() - started[0]) / contender.rhythm)
    cpu.setdefault(contender.name, []).append((time.process_time() - started[1]) / contender.rhythm)


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_memory(network: str, names: list[str]) -> None:
    print(f"{'':42s} peak above the process before its first step, MB")
    for name in names:
        command = [sys.executable, __file__, "--network", network, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"{name:42s} {done.stdout.strip() or 'fails'}")


def print_memory(network: str, name: str) -> None:
    workload = NETWORKS[network]()
    contender = next(c for c in contenders(workload) if c.name == name)
    peak = peak_of(lambda: [contender.step(index) for index in range(3)])
    print(f"{peak / 2**20:.0f}")


def peak_of(run: Callable[[], object]) -> float:
    """Bytes: of the device, or of the process where there is none."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()

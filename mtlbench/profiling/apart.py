"""Measuring in a process of its own: memory is the network's alone, and running out of it costs one row."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from mtlbench.errors import MtlbenchError
from mtlbench.profiling.timing import Load, Timing, measure
from mtlbench.registry import registry
from mtlbench.spec import Cell


@dataclass(frozen=True)
class Failed:
    """Why there is no timing."""

    reason: str


def measure_apart(cell: Cell, load: Load) -> Timing | Failed:
    """`measure` in a fresh process, with the plugin files of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = pool.submit(measure_here, cell, load, registry.files, torch.get_num_threads())
        try:
            return work.result()
        except BrokenProcessPool:
            return Failed("the process was killed, for want of memory probably")


def measure_here(cell: Cell, load: Load, plugins: tuple[str, ...], threads: int) -> Timing | Failed:
    """`measure` with errors as texts: not all of them travel between processes."""
    torch.set_num_threads(threads)
    try:
        for plugin in plugins:
            registry.add_file(plugin)
        return measure(cell, load)
    except MtlbenchError as error:
        return Failed(str(error))
    except (MemoryError, torch.OutOfMemoryError):
        return Failed("out of memory")
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}")

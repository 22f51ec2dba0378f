"""Hands out a machine's GPUs and cores, none of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mtlbench.errors import MtlbenchError
from mtlbench.spec import Execution

_SMALLEST_PART = Fraction(1, 1000)


@dataclass(frozen=True)
class Share:
    """What one cell has of the machine.

    Attributes:
        gpus: ids; none on a machine without GPUs.
        part: of each of them.
        threads: of each of its processes.
        cores: what all its processes take together.
    """

    gpus: tuple[str, ...]
    part: Fraction
    threads: int
    cores: int


class Slots:
    """The free part of a machine.

    A cell takes `devices` whole GPUs, or of one GPU the part `gpu`; without GPUs, `devices` processes. Each
    of its processes takes `threads` cores. A cell with more threads than the machine has cores runs alone.

    Args:
        jobs: cells at a time; None: as many as GPUs (without GPUs: cores) allow.
    """

    def __init__(self, *, jobs: int | None, cores: int, gpus: Sequence[str]) -> None:
        self._jobs = jobs
        self._cores = self._free_cores = cores
        self._free_gpus = dict.fromkeys(gpus, Fraction(1))
        self._taken = 0

    def check(self, execution: Execution) -> None:
        """Refuse what would wait for ever.

        Raises:
            MtlbenchError: more devices than there are GPUs.
        """
        if self._free_gpus and execution.devices > len(self._free_gpus):
            found = f"{execution.devices} of {len(self._free_gpus)}"
            raise MtlbenchError(f"`execution.devices` must be at most the number of GPUs, got {found}")

    def threads(self, execution: Execution) -> int:
        """Threads of each process of such a cell: as the grid says, else an equal part of the cores."""
        if execution.threads is not None:
            return execution.threads
        if not self._free_gpus:
            together = self._cores // execution.devices
        elif execution.devices > 1:
            together = len(self._free_gpus) // execution.devices
        else:
            together = len(self._free_gpus) * int(1 / _part(execution))
        together = max(1, min(together, self._jobs or together))
        return max(1, self._cores // (together * execution.devices))

    def take(self, execution: Execution) -> Share | None:
        """A share for such a cell; None while there is no room."""
        threads = self.threads(execution)
        cores = min(threads * execution.devices, self._cores)
        gpus = self._choose_gpus(execution)
        if self._taken == self._jobs or cores > self._free_cores or gpus is None:
            return None
        share = Share(gpus, _part(execution), threads, cores)
        self._account(share, 1)
        return share

    def give_back(self, share: Share) -> None:
        """The cell that had it is gone."""
        self._account(share, -1)

    def _choose_gpus(self, execution: Execution) -> tuple[str, ...] | None:
        """Those with the least room that is enough, so that whole GPUs stay free for those that need one."""
        if not self._free_gpus:
            return ()
        part = _part(execution)
        enough = [gpu for gpu, free in self._free_gpus.items() if free >= part]
        enough.sort(key=self._free_gpus.__getitem__)
        return tuple(enough[: execution.devices]) if len(enough) >= execution.devices else None

    def _account(self, share: Share, sign: int) -> None:
        self._taken += sign
        self._free_cores -= sign * share.cores
        for gpu in share.gpus:
            self._free_gpus[gpu] -= sign * share.part


def _part(execution: Execution) -> Fraction:
    """Of each GPU; exact, so that three thirds are one."""
    if execution.devices > 1:
        return Fraction(1)
    return max(_SMALLEST_PART, Fraction(execution.gpu).limit_denominator(1000))

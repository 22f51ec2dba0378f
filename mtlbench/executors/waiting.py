"""Jobs that wait for room, and which of them starts next."""

from __future__ import annotations

from collections import deque
from itertools import count

from mtlbench.executors.slots import Share, Slots
from mtlbench.folder import Job
from mtlbench.spec import Execution

PATIENCE = 8
"""How many later jobs may start before one that finds no room."""


class Waiting:
    """In order of submission; what finds no room may be passed by smaller jobs, `PATIENCE` times at most.

    After that nothing starts until what is running has made room for it. Jobs that need the same are never
    passed by each other, so only the first of each kind is looked at.
    """

    def __init__(self) -> None:
        self._kinds: dict[Execution, deque[tuple[int, Job]]] = {}
        self._passed: dict[Execution, int] = {}
        self._order = count()

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def append(self, job: Job) -> None:
        self._kinds.setdefault(job.execution, deque()).append((next(self._order), job))

    def clear(self) -> None:
        self._kinds.clear()
        self._passed.clear()

    def start_next(self, slots: Slots) -> tuple[Job, Share] | None:
        """Take the next job that may start, and its share of the machine; None while there is none."""
        kinds = sorted(self._kinds, key=lambda kind: self._kinds[kind][0][0])
        for i, kind in enumerate(kinds):
            share = slots.take(kind)
            if share is not None:
                for earlier in kinds[:i]:
                    self._passed[earlier] = self._passed.get(earlier, 0) + 1
                return self._pop(kind), share
            if self._passed.get(kind, 0) >= PATIENCE:
                return None
        return None

    def _pop(self, kind: Execution) -> Job:
        _, job = self._kinds[kind].popleft()
        self._passed.pop(kind, None)
        if not self._kinds[kind]:
            del self._kinds[kind]
        return job

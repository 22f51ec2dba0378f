"""A grid that is disturbed while it runs."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from chaos_faults import Chaos, Faults, Harm, schedule
from chaos_scene import Scene

PATIENCE = 3600.0
TICK = 0.2
SPARE_DRIVERS = 20
"""More are not started than there are faults and these."""
AFTERWARDS = ("a corrupted result of a done cell", "a corrupted index")
"""Faults that can come when all cells are done."""


@dataclass
class Hit:
    """A fault as it came: `seconds` until the cells that it concerned were further than before."""

    kind: str
    at: float
    steps: dict[str, int]
    harm: Harm
    seconds: float | None = None

    def is_over(self, scene: Scene) -> bool:
        if self.harm.mended is not None:
            return self.harm.mended()
        if time.monotonic() < self.harm.after:
            return False
        newest = scene.processes()
        anew = {cell for cell in self.harm.cells if newest.get(cell) not in self.harm.processes}
        done, steps = scene.scores(), scene.steps()
        further = {cell for cell in anew if steps.get(cell, 0) > self.steps.get(cell, 0)}
        return bool(further) or any(cell in done for cell in self.harm.cells)


class Disturbance:
    """One grid, disturbed until it is done and all faults have come."""

    def __init__(
        self, scene: Scene, faults: Faults, count: int, draw: random.Random, *, mounted: bool, cells: int
    ) -> None:
        self.scene, self.faults, self.cells = scene, faults, cells
        self.kinds = schedule(count, draw, faults)
        self.chaos = Chaos(scene, draw, scene.start(), mounted)
        self.hits: list[Hit] = []
        self.seen: dict[str, str] = {}
        self.changed: set[str] = set()
        self.twice: set[str] = set()
        self.read = self.by_hand = 0

    def run(self, patience: float = PATIENCE) -> None:
        """Until it is; where that takes too long or too many drivers, the driver is killed."""
        deadline = time.monotonic() + patience
        count = len(self.kinds)
        while time.monotonic() < deadline and len(self.scene.exits) < count + SPARE_DRIVERS:
            self._look()
            ended = self.chaos.driver.poll()
            if ended is not None:
                if ended == 0 and len(self.seen) == self.cells:
                    self.kinds = [kind for kind in self.kinds if kind in AFTERWARDS]
                    if not self.kinds:
                        self.scene.exits.append(ended)
                        return
                self._start_again(ended)
            if self.kinds and self._share() >= (count - len(self.kinds) + 0.5) / (count + 1):
                self._strike()
            time.sleep(TICK)
        self.chaos.driver.kill()
        self.chaos.driver.wait()

    def finish(self) -> None:
        """Whatever happened: the disk is freed."""
        for thread in self.chaos.filling:
            thread.join()
        for hit in self.hits:
            if hit.seconds is None and hit.is_over(self.scene):
                hit.seconds = time.monotonic() - hit.at

    def _share(self) -> float:
        """Of all steps, those that are done."""
        done = self.scene.scores()
        open_steps = sum(steps for cell, steps in self.scene.steps().items() if cell not in done)
        return (open_steps + len(done) * self.scene.iterations) / (self.cells * self.scene.iterations)

    def _strike(self) -> None:
        """The next fault for which there is something to harm."""
        for kind in list(self.kinds):
            steps, at = self.scene.steps(), time.monotonic()
            harm = self.faults[kind][0](self.chaos) if self.chaos.driver.poll() is None else None
            if harm is not None:
                self.kinds.remove(kind)
                self.hits.append(Hit(kind, at, {cell: steps.get(cell, 0) for cell in harm.cells}, harm))
                print(f"{len(self.hits):3d} {kind}: {', '.join(harm.cells) or 'the index'}", flush=True)
                return

    def _look(self) -> None:
        """Note what has changed; an evaluation of a cell that was done already is one too many."""
        told = self.scene.told()
        self.twice |= {
            e["cell"] for e in told[self.read :] if e["event"] == "evaluated" and e["cell"] in self.seen
        }
        self.read = len(told)
        for cell, scores in self.scene.scores().items():
            if self.seen.setdefault(cell, scores) != scores:
                self.changed.add(cell)
        for hit in self.hits:
            if hit.seconds is None and hit.is_over(self.scene):
                hit.seconds = time.monotonic() - hit.at

    def _start_again(self, ended: int) -> None:
        self.scene.exits.append(ended)
        if ended == 1:
            for thread in self.chaos.filling:
                thread.join()
            failed = sum(folder.failure() is not None for folder in self.scene.folders().values())
            if failed:
                self.by_hand += 1
                self.scene.run("rerun", str(self.scene.runs), "--failed", *self.scene.options)
        self.chaos.driver = self.scene.start()

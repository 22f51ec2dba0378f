"""Carries out the trials of studies, several at a time, beside other workers on other machines."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mtlbench.claims import Claims
from mtlbench.driver import OTHERS_SECONDS, Driver, Progress
from mtlbench.errors import MtlbenchError
from mtlbench.executors.base import Executor
from mtlbench.folder import Failure
from mtlbench.retrying import PASSING
from mtlbench.spec import Cell, Execution
from mtlbench.store import Runs
from mtlbench.studies.storage import UNAVAILABLE
from mtlbench.studies.study import Proposal, Study

MOST_FAILURES = 5
"""Trials of a study that may fail one after the other before it is stopped."""
RETRY_SECONDS = 5.0
"""Between two tries to use a storage that can't be used."""

log = logging.getLogger(__name__)


@dataclass
class StudyAtWork:
    """A study, and what this worker does for it.

    Attributes:
        proposals: trials by number.
        failures: that came one after the other.
        stopped: why no further trials are begun.
    """

    study: Study
    proposals: dict[int, Proposal] = field(default_factory=dict)
    failures: int = 0
    stopped: str = ""


class Worker:
    """Asks for trials as long as there is room, and hands their cells to a driver.

    Args:
        studies: to be carried out side by side.
        executor: runs the cells.
        runs: where their folders are.
        execution: how they are run.
        plugins: files with plugins.
        claims: keep other workers from the same trials and cells.
        cells_at_once: a trial is begun while fewer cells are at work.
    """

    def __init__(
        self,
        studies: Sequence[Study],
        executor: Executor,
        runs: Runs,
        execution: Execution,
        plugins: tuple[str, ...],
        claims: Claims,
        *,
        cells_at_once: int,
    ) -> None:
        self.studies = [StudyAtWork(study) for study in studies]
        self._runs, self._room = runs, cells_at_once
        self._execution = execution.model_copy(update={"gallery": 0})
        self._own: dict[str, Execution] = {}
        self._cells: dict[str, Cell] = {}
        self._driver = Driver(
            self._references(), executor, runs, execution, plugins, claims, execution_of=self._execution_of
        )
        self._looked = self._broken = -float("inf")

    def run(self, on_change: Callable[[Progress], None]) -> Progress:
        """Until all studies have their trials, or Ctrl-C or SIGTERM; what is left then goes on next time."""
        progress = self._driver.run(on_change, more=self._more)
        for work in self.studies:
            for proposal in work.proposals.values():
                work.study.give_back(proposal)
        return progress

    def cell(self, name: str) -> Cell | None:
        """A cell that was handed on, by its id."""
        return self._cells.get(name)

    def _references(self) -> list[Cell]:
        cells = [c for work in self.studies for found in work.study.references.values() for c in found]
        return self._to_run(cells)

    def _more(self, progress: Progress) -> list[Cell] | None:
        """Cells of further trials; None at the end. A storage that can't be used is tried again later."""
        if time.monotonic() - self._broken < RETRY_SECONDS:
            return []
        try:
            return self._next(progress)
        except UNAVAILABLE as error:
            if self._broken == -float("inf"):
                reason = str(error.__cause__ or error).strip().splitlines()[0]
                log.warning("the studies' storage can't be used: %s; cells run on", reason)
            self._broken = time.monotonic()
            return []

    def _next(self, progress: Progress) -> list[Cell] | None:
        cells: list[Cell] = []
        for work in self.studies:
            self._check_references(work, progress)
            try:
                for proposal in list(work.proposals.values()):
                    cells += self._advance(work, proposal, progress)
            except MtlbenchError as error:
                self._stop(work, str(error))
        looks = self._look_at_others()
        busy = progress.count("waiting") + progress.count("running") + len(cells)
        while busy < self._room and (begun := self._begin(looks)) is not None:
            cells += begun
            busy += len(begun)
        over = all(work.stopped or work.study.ended() for work in self.studies)
        at_work = any(work.proposals for work in self.studies)
        return None if over and not at_work else cells

    def _begin(self, looks: bool) -> list[Cell] | None:
        """The cells of a trial of the study that has fewest at work; None where no study has one.

        Args:
            looks: whether trials of others are looked at, too, which a dead one may have left.
        """
        for work in sorted(self.studies, key=lambda w: (len(w.proposals), w.study.begun())):
            others = work.study.running() - set(work.proposals)
            wants = work.study.begun() < work.study.trials or (looks and others)
            if not work.stopped and wants and (proposal := work.study.propose(work.proposals)) is not None:
                work.proposals[proposal.number] = proposal
                return self._start(work, proposal)
        return None

    def _start(self, work: StudyAtWork, proposal: Proposal) -> list[Cell]:
        """All cells; where seeds are compared, those of the first one."""
        cells = proposal.all_cells
        if work.study.settings.pruner == "wilcoxon":
            cells = next(iter(proposal.cells.values()))
        return self._to_run(cells, work.study.evaluate_every)

    def _advance(self, work: StudyAtWork, proposal: Proposal, progress: Progress) -> list[Cell]:
        """Take in what has become of a trial's cells; returns further ones."""
        states = {cell.id: self._state(cell, progress) for cell in proposal.all_cells}
        if "failed" in states.values():
            self._end_badly(work, proposal, [name for name, state in states.items() if state == "failed"])
        elif work.study.settings.pruner == "wilcoxon":
            return self._next_seed(work, proposal, states)
        elif set(states.values()) == {"done"}:
            values = work.study.values(work.study.scores(proposal))
            if values is not None:
                self._complete(work, proposal, values)
        elif work.study.settings.pruner != "none" and work.study.report_way(proposal):
            self._stop_cells(proposal)
            if not any(self._state(cell, progress) == "at work" for cell in proposal.all_cells):
                self._prune(work, proposal)
        return []

    def _next_seed(self, work: StudyAtWork, proposal: Proposal, states: dict[str, str]) -> list[Cell]:
        """Of a trial whose seeds run one after the other."""
        study = work.study
        scores = {}
        for seed, cells in proposal.cells.items():
            if any(states[cell.id] != "done" for cell in cells):
                open_cells = [cell for cell in cells if states[cell.id] == "new"]
                return self._to_run(open_cells, study.evaluate_every)
            scores[seed] = study.scores(proposal)[seed]
            value = study.values({seed: scores[seed]})
            if value is None:
                return []
            if not all(map(math.isfinite, value)):
                break
            if study.report(proposal, len(scores), value[0]) and len(scores) < len(proposal.cells):
                self._prune(work, proposal)
                return []
        values = study.values(scores)
        assert values is not None
        self._complete(work, proposal, values)
        return []

    def _complete(self, work: StudyAtWork, proposal: Proposal, values: list[float]) -> None:
        if not all(map(math.isfinite, values)):
            told = ", ".join(
                f"{name} {value}" for name, value in zip(work.study.record.objective, values, strict=True)
            )
            self._fail(work, proposal, f"it has no finite value: {told}")
            return
        if work.study.settings.pruner != "wilcoxon":
            work.study.report_way(proposal)
        work.study.complete(proposal, values)
        work.failures = 0
        del work.proposals[proposal.number]

    def _prune(self, work: StudyAtWork, proposal: Proposal) -> None:
        work.study.prune(proposal)
        del work.proposals[proposal.number]

    def _stop_cells(self, proposal: Proposal) -> None:
        """Those that run end within seconds, those that wait for a process as soon as they have one."""
        names = {cell.id for cell in proposal.all_cells}
        for name in names:
            folder = self._runs.folder(name)
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.ask_to_prune()
        self._driver.withdraw(names)

    def _end_badly(self, work: StudyAtWork, proposal: Proposal, failed: list[str]) -> None:
        self._driver.withdraw({cell.id for cell in proposal.all_cells})
        failures = [f for name in failed if (f := self._runs.folder(name).failure()) is not None]
        if failures and all(failure.kind == "pruned" for failure in failures):
            work.study.report_way(proposal)
            self._prune(work, proposal)
            return
        failure = next((f for f in failures if f.kind != "pruned"), None)
        reason = f"{failure.kind}: {failure.message}" if failure else "what its cells start from is not done"
        self._fail(work, proposal, reason)

    def _fail(self, work: StudyAtWork, proposal: Proposal, reason: str) -> None:
        work.study.fail(proposal, reason)
        del work.proposals[proposal.number]
        work.failures += 1
        log.warning("%s: trial %d failed: %s", work.study.plan.name, proposal.number, reason)
        if work.failures >= MOST_FAILURES:
            self._stop(work, f"{work.failures} trials failed one after the other, the last one with {reason}")

    def _check_references(self, work: StudyAtWork, progress: Progress) -> None:
        """Without the baseline no trial has a value; nor with one that scores 0."""
        if work.stopped:
            return
        for cell in (cell for cells in work.study.references.values() for cell in cells):
            if self._state(cell, progress) == "failed":
                failure = self._runs.folder(cell).failure()
                reason = "" if failure is None else f": {failure.kind}: {failure.message}"
                self._stop(work, f"the baseline {cell.id} failed{reason}")
                return

    def _stop(self, work: StudyAtWork, reason: str) -> None:
        work.stopped = reason
        for proposal in work.proposals.values():
            self._driver.withdraw({cell.id for cell in proposal.all_cells})
            work.study.give_back(proposal)
        work.proposals.clear()

    def _look_at_others(self) -> bool:
        """Take in what other workers have told, every few seconds; returns whether it was done."""
        if time.monotonic() - self._looked < OTHERS_SECONDS:
            return False
        self._looked = time.monotonic()
        for work in self.studies:
            work.study.refresh()
        return True

    def _state(self, cell: Cell, progress: Progress) -> str:
        """`done`, `failed` (or pruned, or blocked), `new` where it was not handed on, else `at work`."""
        state = progress.states.get(cell.id)
        if state in ("failed", "pruned", "blocked"):
            return "failed"
        if state is not None:
            return "done" if state == "done" else "at work"
        folder = self._runs.folder(cell)
        if folder.result() is not None:
            return "done"
        failure = folder.failure()
        return "new" if failure is None or _passes(failure) else "failed"

    def _to_run(self, cells: Iterable[Cell], evaluate_every: int | None = None) -> list[Cell]:
        """With what they start from; what failed by itself before is not tried again."""
        chosen = {one.id: one for cell in cells for one in cell.lineage}
        for name in list(chosen):
            folder = self._runs.folder(name)
            failure = None if folder.result() is not None else folder.failure()
            if failure is not None and not _passes(failure):
                del chosen[name]
            elif failure is not None:
                folder.try_again()
            self._own[name] = self._execution.model_copy(update={"evaluate_every": evaluate_every})
        self._cells |= chosen
        return list(chosen.values())

    def _execution_of(self, cell: Cell) -> Execution:
        return self._own[cell.id]


def _passes(failure: Failure) -> bool:
    return failure.kind in PASSING

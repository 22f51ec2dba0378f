"""One study: its trials are asked of Optuna, told to it, and written down in the folder of runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from mtlbench.claims import Claims
from mtlbench.estimate import steps_of
from mtlbench.registry import registry
from mtlbench.search.plans import StudyPlan
from mtlbench.search.values import Known, values_of
from mtlbench.spec import Cell
from mtlbench.store import Runs
from mtlbench.studies.opening import drop_study, open_study, read_study
from mtlbench.studies.recording import CELLS, REASON, SCORES, SECONDS, best_of, trial_record
from mtlbench.studies.records import StudyRecord, TrialRecord, write_study
from mtlbench.studies.samplers import make_pruner, make_sampler
from mtlbench.studies.scoring import ScoreReader, Scores, gain, means
from mtlbench.studies.storage import Storage, quiet

WAIT_SECONDS = 0.1
"""Between two tries to get a study that another worker holds."""


@dataclass
class Proposal:
    """A trial that this worker carries out.

    Attributes:
        number: of the trial.
        trial: Optuna's.
        cells: that it consists of, by seed.
        reported: training steps (or numbers of seeds) that Optuna knows of.
    """

    number: int
    trial: Trial
    cells: dict[int, list[Cell]]
    reported: set[int] = field(default_factory=set)

    @property
    def all_cells(self) -> list[Cell]:
        return [cell for cells in self.cells.values() for cell in cells]


class Study:
    """A study of one setting.

    Args:
        plan: what is tuned.
        grid: name of the grid.
        storage: where Optuna keeps it.
        runs: where its cells and its record are.
        claims: keep other workers from the same trials.
        trials: that it shall have, over all workers and calls.
        fresh: forget what it has found so far.
    """

    def __init__(
        self,
        plan: StudyPlan,
        grid: str,
        storage: Storage,
        runs: Runs,
        claims: Claims,
        *,
        trials: int,
        fresh: bool = False,
    ) -> None:
        self.plan, self.settings, self.trials = plan, plan.settings, trials
        self.seeds = plan.settings.seeds
        self._runs, self._claims = runs, claims
        self.reader = ScoreReader(runs, plan.tasks)
        known_tasks = registry.load("dataset", plan.setting.dataset.choice.name).tasks
        self.higher = {task: known_tasks[task].higher_is_better for task in plan.tasks}
        default = plan.cells(plan.defaults, self.seeds[0], self.settings.holdout)[-1]
        self.evaluate_every = self._evaluate_every(steps_of(default))
        self.references = self._reference_cells()
        name = f"{plan.name}@{runs.id}"
        with self._held(wait=True):
            if fresh:
                drop_study(storage, name, runs.root, plan)
            known = read_study(runs.root, plan.name)
            self._empty = self._empty_record(grid, storage.place, known)
            self._optuna = open_study(plan, storage, name, self._empty.directions, known)
        self._optuna.pruner = make_pruner(self.settings, self.evaluate_every or 1, steps_of(default))
        self.record = self._empty
        self.refresh()

    @property
    def compares(self) -> bool:
        """Whether trials are measured by their gain over a reference."""
        return self.settings.objective == "delta_m"

    def propose(self, mine: Mapping[int, Proposal]) -> Proposal | None:
        """A trial that a dead worker has left, or a new one; None: there is none to be had now.

        Args:
            mine: trials that this worker is at work on.
        """
        with self._held() as free:
            if not free:
                return None
            with quiet():
                found = self._left_by_others(mine) or self._new()
            if found is None:
                return None
            number, trial = found
            with quiet():
                values = values_of(self.plan.space, self.plan.defaults, trial)
            cells = {s: self.plan.cells(values, s, self.settings.holdout) for s in self.seeds}
            proposal = Proposal(number, trial, cells, set(self._frozen(number).intermediate_values))
            self._note(proposal, {CELLS: [cell.id for cell in proposal.all_cells]})
        self.refresh()
        return proposal

    def reference(self) -> dict[int, Scores] | None:
        """Scores by seed that gains are counted from; None until they are known."""
        found = {seed: self.reader.final(cells) for seed, cells in self.references.items()}
        whole = {seed: scores for seed, scores in found.items() if scores is not None}
        return whole if len(whole) == len(found) else None

    def scores(self, proposal: Proposal) -> dict[int, Scores]:
        """Of the seeds that are done."""
        found = {seed: self.reader.final(cells) for seed, cells in proposal.cells.items()}
        return {seed: scores for seed, scores in found.items() if scores is not None}

    def values(self, scores: Mapping[int, Scores]) -> list[float] | None:
        """Of the objectives; None where the reference is not known yet.

        Raises:
            MtlbenchError: the reference scores 0.
        """
        if not self.compares:
            return list(means(scores, self.plan.tasks).values())
        reference = self.reference()
        if reference is None:
            return None
        return [gain(scores, {seed: reference[seed] for seed in scores}, self.higher)]

    def report_way(self, proposal: Proposal) -> bool:
        """Tell what cells have scored in training; returns whether the trial should be pruned."""
        reference = self.reference()
        if reference is None or not self.compares:
            return False
        ways = {seed: self.reader.on_the_way(cells) for seed, cells in proposal.cells.items()}
        common = set.intersection(*(set(way) for way in ways.values())) - proposal.reported
        prune = False
        for step in sorted(common):
            scores = {seed: way[step] for seed, way in ways.items()}
            prune = self.report(proposal, step, gain(scores, reference, self.higher))
        return prune

    def report(self, proposal: Proposal, step: int, value: float) -> bool:
        """Tell of a value before the last one; returns whether the trial should be pruned."""
        if step in proposal.reported or not math.isfinite(value):
            return False
        proposal.reported.add(step)
        with quiet(), suppress(UpdateFinishedTrialError):
            proposal.trial.report(value, step)
            prune = proposal.trial.should_prune()
        self.refresh()
        return prune and proposal.number > 0  # the defaults are what all else is compared with

    def complete(self, proposal: Proposal, values: list[float]) -> None:
        self._end(proposal, TrialState.COMPLETE, values)

    def prune(self, proposal: Proposal) -> None:
        self._end(proposal, TrialState.PRUNED)

    def fail(self, proposal: Proposal, reason: str) -> None:
        self._end(proposal, TrialState.FAIL, reason=reason)

    def give_back(self, proposal: Proposal) -> None:
        """Another worker, or the next one, may go on with it."""
        self._claims.release([self._claim(proposal.number)])

    def begun(self) -> int:
        return sum(trial.state != "waiting" for trial in self.record.trials)

    def running(self) -> set[int]:
        """Numbers of the trials that somebody is, or was, at work on."""
        return {trial.number for trial in self.record.trials if trial.state == "running"}

    def ended(self) -> bool:
        """Whether it has all its trials, and nobody is at work on one."""
        return self.begun() >= self.trials and not self.running()

    def refresh(self) -> None:
        """Take in what other workers have done, and write it all down."""
        with quiet():
            trials = [trial_record(trial) for trial in self._optuna.get_trials(deepcopy=False)]
        best = best_of(trials, self._empty.directions)
        settings = self.record.settings
        if best != self.record.best:
            settings = [self.plan.fragment(self._values(trials[number])) for number in best]
        new = self._empty.model_copy(update={"trials": trials, "best": best, "settings": settings})
        if new != self.record or not trials:
            self.record = new
            write_study(self._runs.root, new)

    def compared_in(self, grid: str) -> None:
        """Note the grid in which best and default are compared."""
        self._empty = self._empty.model_copy(update={"comparison": grid})
        self.refresh()

    def values_of(self, number: int) -> dict[str, Any]:
        """Tuned key -> value of a trial."""
        return self._values(self.record.trials[number])

    def _new(self) -> tuple[int, Trial] | None:
        trials = self._optuna.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        if len(trials) - len(waiting) >= self.trials:
            return None
        self._optuna.sampler = make_sampler(self.settings, self.plan.name, min(waiting, default=len(trials)))
        trial = self._optuna.ask()
        self._claims.take([self._claim(trial.number)])
        return trial.number, trial

    def _left_by_others(self, mine: Mapping[int, Proposal]) -> tuple[int, Trial] | None:
        running = self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        foreign = [trial for trial in running if trial.number not in mine]
        living = self._claims.others() if foreign else {}
        for trial in foreign:
            claim = self._claim(trial.number)
            if claim not in living and self._claims.take([claim]):
                self._optuna.sampler = make_sampler(self.settings, self.plan.name, trial.number)
                return trial.number, Trial(self._optuna, trial._trial_id)
        return None

    def _values(self, trial: TrialRecord) -> dict[str, Any]:
        return values_of(self.plan.space, self.plan.defaults, Known(trial.parameters))

    def _end(
        self, proposal: Proposal, state: TrialState, values: list[float] | None = None, reason: str = ""
    ) -> None:
        scores = self.scores(proposal)
        facts: dict[str, Any] = {SECONDS: self.reader.seconds(proposal.all_cells), REASON: reason}
        if len(scores) == len(proposal.cells):
            found = means(scores, self.plan.tasks)
            facts[SCORES] = {task: value for task, value in found.items() if math.isfinite(value)}
        self._note(proposal, facts)
        with quiet():
            self._optuna.tell(proposal.number, values, state, skip_if_finished=True)
        self.give_back(proposal)
        self.refresh()

    def _note(self, proposal: Proposal, facts: Mapping[str, Any]) -> None:
        """Unless another worker has ended the trial meanwhile."""
        with quiet(), suppress(UpdateFinishedTrialError):
            for name, value in facts.items():
                proposal.trial.set_user_attr(name, value)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._optuna.get_trials(deepcopy=False)[number]

    def _evaluate_every(self, steps: int) -> int | None:
        """Steps between two scores in training."""
        if self.settings.pruner not in ("median", "hyperband"):
            return self.settings.evaluate_every
        return self.settings.evaluate_every or max(1, steps // 8)

    def _reference_cells(self) -> dict[int, list[Cell]]:
        """The baseline's by seed; none where nothing is compared."""
        seeds = self.seeds if self.compares else ()
        return {seed: self.plan.baseline_cells(seed, self.settings.holdout) for seed in seeds}

    def _empty_record(self, grid: str, place: str, known: StudyRecord | None) -> StudyRecord:
        """Without trials."""
        tasks = list(self.plan.tasks)
        higher = [True] if self.compares else list(self.higher.values())
        return StudyRecord(
            name=self.plan.name,
            grid=grid,
            labels=self.plan.setting.labels(),
            objective=["delta_m"] if self.compares else tasks,
            directions=["maximize" if better else "minimize" for better in higher],
            space={key: domain.to_dict() for key, domain in self.plan.space.items()},
            defaults=dict(self.plan.defaults),
            holdout=self.settings.holdout,
            seeds=list(self.seeds),
            storage=place,
            comparison=None if known is None else known.comparison,
        )

    def _claim(self, number: int | None = None) -> str:
        return f"study:{self.plan.name}" + ("" if number is None else f":trial:{number}")

    @contextmanager
    def _held(self, *, wait: bool = False) -> Iterator[bool]:
        """While this worker alone may begin trials; yields whether it may."""
        while not (free := bool(self._claims.take([self._claim()]))) and wait:
            time.sleep(WAIT_SECONDS)
        try:
            yield free
        finally:
            if free:
                self._claims.release([self._claim()])

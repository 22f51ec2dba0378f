"""What the terminal shows while studies are carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mtlbench.driver import Progress
from mtlbench.estimate import steps_of
from mtlbench.live_base import LiveBase
from mtlbench.spec import Cell
from mtlbench.store import Runs
from mtlbench.studies.records import StudyRecord, TrialRecord, TrialState
from mtlbench.watching import RunningCell

SHOWN: tuple[TrialState, ...] = ("complete", "pruned", "failed", "running")
"""States of trials that are counted in columns."""
_COLOURS = {"complete": "green", "pruned": "yellow", "failed": "red"}


class StudiesView(LiveBase):
    """Per study: trials by state, best and default; then the cells that run. In a pipe, a line per trial.

    Args:
        studies: gives the studies as they are now.
        trials: that each shall have.
        cell: of an id.
        runs: where cells are.
        console: to be drawn on.
    """

    def __init__(
        self,
        studies: Callable[[], Sequence[StudyRecord]],
        trials: int,
        cell: Callable[[str], Cell | None],
        runs: Runs,
        console: Console,
    ) -> None:
        super().__init__(console)
        self._studies, self._trials, self._cell, self._runs = studies, trials, cell, runs
        self._told = {(study.name, trial.number) for study in studies() for trial in _ended(study)}

    def update(self, progress: Progress) -> None:
        studies = self._studies()
        for study in studies:
            for trial in _ended(study):
                if (study.name, trial.number) not in self._told:
                    self._told.add((study.name, trial.number))
                    self._console.print(_line(study, trial, studies), soft_wrap=True)
        self._draw(lambda: self._render(studies, progress))

    def _render(self, studies: Sequence[StudyRecord], progress: Progress) -> RenderableType:
        table = Table("study", *SHOWN, "of", "default", "best", box=None, header_style="bold")
        for study in studies:
            counts = Counter(trial.state for trial in study.trials)
            numbers = [str(counts[state]) for state in SHOWN]
            best = "" if len(study.objective) > 1 else value_text(study, study.best[:1])
            table.add_row(_title(study, studies), *numbers, str(self._trials), value_text(study, [0]), best)
        names = [name for name, state in progress.states.items() if state == "running"]
        return Group(self._at_work([self._running(name) for name in names]), table)

    def _running(self, name: str) -> RunningCell:
        cell = self._cell(name)
        line = self._runs.folder(name).last_line()
        return RunningCell(name, line, None if cell is None else steps_of(cell), None)


def value_text(study: StudyRecord, numbers: Sequence[int]) -> str:
    """Values of a trial, signed where they are gains; empty where it has none."""
    trial = study.trials[numbers[0]] if numbers and numbers[0] < len(study.trials) else None
    if trial is None or trial.values is None:
        return ""
    if study.objective == ["delta_m"]:
        return f"{trial.values[0]:+.2f} %"
    return ", ".join(f"{task} {value:.4g}" for task, value in zip(study.objective, trial.values, strict=True))


def _title(study: StudyRecord, studies: Sequence[StudyRecord]) -> str:
    """Method, balancer, and whatever else tells the studies apart."""
    told = {"method", "balancer"}
    told |= {axis for axis in study.labels if len({other.labels[axis] for other in studies}) > 1}
    return " · ".join(label for axis, label in study.labels.items() if axis in told and label)


def _ended(study: StudyRecord) -> list[TrialRecord]:
    return [trial for trial in study.trials if trial.state in ("complete", "pruned", "failed")]


def _line(study: StudyRecord, trial: TrialRecord, studies: Sequence[StudyRecord]) -> Text:
    text = Text(f"{trial.state:>8}", style=_COLOURS[trial.state])
    text.append(
        f" trial {trial.number}" + (f" of {_title(study, studies)}" if len(studies) > 1 else ""),
        style="default",
    )
    values = value_text(study, [trial.number])
    best = " (best so far)" if trial.number in study.best and len(study.trials) > 1 else ""
    parameters = ", ".join(f"{name} {_short(value)}" for name, value in study.used(trial).items())
    return text.append(f"  {values}{best}  {parameters}".rstrip(), style="default")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

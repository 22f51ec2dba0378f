"""Which tuned parameters told good trials from others."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .chart import Chart
from .studies_trials import Parameter, Trials
from .style import COLUMN, PAGE, PALETTE, legend, short

FEWEST = 12
"""Complete trials; with fewer, the best tenth of them is a single one."""
_LINE = 0.19  # inches a bar
_CAPTION = (
    "Share of each parameter in what distinguishes the best tenth of the trials from all (PED-ANOVA of "
    "Watanabe et al. 2023); the shares of a study add up to 1. With few trials, shares are uncertain."
)

log = logging.getLogger(__name__)

Shares = dict[str, float]


def charts(studies: Sequence[Trials]) -> list[Chart]:
    """One chart of all studies that have enough trials and several parameters."""
    found = [(trials, [importances(trials, goal) for goal in range(len(trials.goals))]) for trials in studies]
    shown = [(trials, [s for s in shares if s]) for trials, shares in found]
    shown = [(trials, shares) for trials, shares in shown if len(shares) == len(trials.goals)]
    if not shown:
        return []
    return [Chart("study_importance", "What mattered in studies", _CAPTION, partial(draw, shown))]


def importances(trials: Trials, goal: int) -> Shares:
    """Parameter -> share, the largest first; none where trials are too few or Optuna is not installed."""
    parameters = [parameter for parameter in trials.parameters if parameter.varies]
    values = trials.values[:, goal]
    if len(values) < FEWEST or len(parameters) < 2 or (values == values[0]).all():
        return {}
    try:
        return _evaluate(parameters, values, trials.goals[goal].sign)
    except ImportError:
        return {}
    except (ValueError, RuntimeError) as error:
        log.info("no importances of %s: %s", trials.title, error)
        return {}


def _evaluate(parameters: Sequence[Parameter], values: np.ndarray, sign: int) -> Shares:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    def distribution(parameter: Parameter) -> BaseDistribution:
        if parameter.choices:
            return CategoricalDistribution(parameter.choices)
        low, high = float(parameter.values.min()), float(parameter.values.max())
        return FloatDistribution(low, high, log=parameter.log)

    kinds = {parameter.name: distribution(parameter) for parameter in parameters}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the evaluator is marked as experimental
            study = optuna.create_study(direction="maximize")
            for place, value in enumerate(values):
                given = {
                    p.name: p.choices[int(p.values[place])] if p.choices else p.values[place]
                    for p in parameters
                }
                study.add_trial(
                    optuna.trial.create_trial(value=float(value * sign), params=given, distributions=kinds)
                )
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    finally:
        optuna.logging.set_verbosity(before)


def draw(shown: Sequence[tuple[Trials, list[Shares]]]) -> Figure:
    """A panel a study, a bar a parameter and objective."""
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    width = COLUMN if columns == 1 else PAGE
    goals = list(dict.fromkeys(goal.name for trials, _ in shown for goal in trials.goals))
    colours = dict(zip(goals, PALETTE, strict=False))
    key = legend([Patch(color=colours[goal], label=goal) for goal in goals], width)
    bars = max(len(shares[0]) * len(shares) for _, shares in shown)
    height = lines * (0.55 + max(3, bars) * _LINE) + 0.1 + key.height
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for panel, (trials, shares) in zip(axes.flat, shown, strict=False):
        names = list(shares[0])
        thick = 0.8 / len(shares)
        for i, (goal, of_goal) in enumerate(zip(trials.goals, shares, strict=True)):
            places = np.arange(len(names)) + (i - (len(shares) - 1) / 2) * thick
            sizes = [of_goal.get(name, 0.0) for name in names]
            panel.barh(places, sizes, height=thick * 0.92, color=colours[goal.name])
        panel.set_yticks(range(len(names)), [short(name, 22, lines=1) for name in names])
        panel.invert_yaxis()
        panel.tick_params(axis="y", length=0)
        panel.set_title(short(trials.title, 30 if columns > 1 else 50))
        panel.grid(axis="x")
        panel.set_axisbelow(True)
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    for panel in axes.flat[max(0, len(shown) - columns) : len(shown)]:
        panel.set_xlabel("importance")
        panel.tick_params(axis="x", labelbottom=True)
    key.draw(figure)
    return figure

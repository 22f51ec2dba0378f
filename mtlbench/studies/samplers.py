"""What proposes the parameters of trials, and what ends bad ones early."""

from __future__ import annotations

import zlib

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from mtlbench.search.settings import TuneSettings
from mtlbench.studies.storage import quiet

WILCOXON_SEEDS = 5
"""With fewer, no comparison of paired values falls below the threshold of 0.1 before the last seed."""


def make_sampler(settings: TuneSettings, study: str, number: int) -> BaseSampler:
    """The sampler of one trial.

    Seeded by study and trial, so that what it proposes depends on the trials before it alone: neither on how
    often the command was stopped, nor on who else works on the study.
    """
    seed, name = zlib.crc32(f"{study} {number}".encode()), settings.sampler
    with quiet():
        if name in ("auto", "tpe"):
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        if name == "qmc":  # one sequence, of which each trial takes its own number
            return optuna.samplers.QMCSampler(scramble=True, seed=zlib.crc32(study.encode()))
        population = max(4, min(50, settings.trials // 4))
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population)


def make_pruner(settings: TuneSettings, every: int, steps: int) -> BasePruner:
    """The pruner of a study.

    Args:
        settings: the grid's.
        every: training steps between two scores.
        steps: of a whole training.
    """
    with quiet():
        if settings.pruner == "median":
            first = max(2, min(5, settings.trials // 5))
            return optuna.pruners.MedianPruner(n_startup_trials=first)
        if settings.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=every, max_resource=steps)
        if settings.pruner == "wilcoxon":
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2)
        return optuna.pruners.NopPruner()

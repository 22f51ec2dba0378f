"""How often intervals hold the true value: the tables of docs/statistics.md.

    python benchmarks/interval_coverage.py [--repeats N] [--write]

Grids are drawn whose truth is known: a row and its baseline score four tasks in n seeds, each score with
noise relative to it. The intervals of delta_m that one could give are counted by how often they hold the true
one, and measured by their mean width. Then the same for means of n values (`mtlbench.statistics.intervals`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlbench.statistics.intervals import interval

PAGE = Path(__file__).parent.parent / "docs" / "statistics.md"
Array = NDArray[np.float64]
Bounds = tuple[Array, Array]
SEEDS = (3, 5, 10)
SIGNS = np.array([1, -1, -1, -1])
BASE = np.array([0.4, 0.6, 20.0, 0.05])
GAINS = np.array([0.03, 0.01, -0.02, 0.0])
TRUE = 100 * GAINS.mean()
"""Of delta_m, percent."""


@dataclass(frozen=True)
class Noise:
    """Of scores, relative to them.

    Attributes:
        row, baseline: standard deviations.
        tasks: correlation between the tasks of the row, which are of one network.
        seed: correlation between row and baseline in the same task and seed (the same order of data).
        shape: of its distribution: "normal", "skewed" (log-normal), "heavy" (t with 5 degrees of freedom).
    """

    name: str
    row: float = 0.01
    baseline: float = 0.01
    tasks: float = 0.3
    seed: float = 0.0
    shape: str = "normal"

    def draw(self, rng: np.random.Generator, repeats: int, seeds: int) -> tuple[Array, Array]:
        """Scores of the row and of its baseline, each (repeats, seeds, 4)."""
        shape = (repeats, seeds, len(BASE))
        shared, network = self.standard(rng, shape), self.standard(rng, (*shape[:2], 1))
        own = np.sqrt(self.tasks) * network + np.sqrt(1 - self.tasks) * self.standard(rng, shape)
        other = self.standard(rng, shape)
        row, baseline = (np.sqrt(self.seed) * shared + np.sqrt(1 - self.seed) * e for e in (own, other))
        scores = BASE * (1 + SIGNS * GAINS) * (1 + self.row * row)
        return scores, BASE * (1 + self.baseline * baseline)

    def standard(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Mean 0, standard deviation 1."""
        if self.shape == "heavy":
            return rng.standard_t(5, shape) / np.sqrt(5 / 3)
        if self.shape == "skewed":
            return (np.exp(0.125) - rng.lognormal(0, 0.5, shape)) / np.sqrt(np.exp(0.5) - np.exp(0.25))
        return rng.standard_normal(shape)


NOISES = (
    Noise("1 % in both"),
    Noise("1 %, shared by the seed (0.3)", seed=0.3),
    Noise("baseline noisier (0.5 and 2 %)", row=0.005, baseline=0.02),
    Noise("row noisier (2 and 0.5 %)", row=0.02, baseline=0.005),
    Noise("2 %, tasks alike (0.8)", row=0.02, baseline=0.02, tasks=0.8),
    Noise("skewed, 1 %", shape="skewed"),
    Noise("heavy tails, 1 %", shape="heavy"),
)


def paired(row: Array, baseline: Array) -> Bounds:
    """Student's t interval of the delta_m of each seed: what `delta_m_intervals` gives."""
    return t_bounds((100 * SIGNS * (row / baseline - 1)).mean(axis=-1))


def welch(row: Array, baseline: Array) -> Bounds:
    """Delta method with two independent sources of noise, degrees of freedom after Satterthwaite."""
    n = row.shape[1]
    means = baseline.mean(axis=1, keepdims=True)
    own = (100 * SIGNS * row / means).mean(axis=-1)
    other = (100 * SIGNS * row.mean(axis=1, keepdims=True) / means**2 * baseline).mean(axis=-1)
    centre = (100 * SIGNS * (row / baseline - 1)).mean(axis=(1, 2))
    a, b = own.var(axis=1, ddof=1) / n, other.var(axis=1, ddof=1) / n
    freedom = (a + b) ** 2 / ((a**2 + b**2) / (n - 1))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(a + b)
    return centre - reach, centre + reach


def fixed(row: Array, baseline: Array) -> Bounds:
    """Student's t interval over the row's seeds against the baseline's mean, as if that had no noise."""
    return t_bounds((100 * SIGNS * (row / baseline.mean(axis=1, keepdims=True) - 1)).mean(axis=-1))


def resampled(row: Array, baseline: Array) -> Bounds:
    """Percentiles over resamples of the row's and of the baseline's seeds, drawn apart."""
    rng, n = np.random.default_rng(1), row.shape[1]
    found = []
    for _ in range(1000):
        own, other = rng.integers(n, size=(2, n))
        ratio = row[:, own].mean(axis=1) / baseline[:, other].mean(axis=1)
        found.append((100 * SIGNS * (ratio - 1)).mean(axis=-1))
    low, high = np.percentile(found, (2.5, 97.5), axis=0)
    return low, high


def t_bounds(values: Array) -> Bounds:
    """Of (repeats, seeds) values."""
    n, mean = values.shape[1], values.mean(axis=1)
    reach = stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return mean - reach, mean + reach


METHODS: dict[str, Callable[[Array, Array], Bounds]] = {
    "paired t": paired,
    "Welch": welch,
    "baseline fixed": fixed,
    "resampled": resampled,
}


def delta_m_table(repeats: int) -> list[list[str]]:
    """Coverage in percent and mean width of each method, for each noise and number of seeds."""
    lines = [["noise", "seeds", *METHODS]]
    for noise in NOISES:
        for seeds in SEEDS:
            scores = noise.draw(np.random.default_rng(0), repeats, seeds)
            entries = []
            for method in METHODS.values():
                low, high = method(*scores)
                held = 100 * ((low <= TRUE) & (high >= TRUE)).mean()
                entries.append(f"{held:.1f} ({(high - low).mean():.2f})")
            lines.append([noise.name, str(seeds), *entries])
    return lines


def mean_table(repeats: int) -> list[list[str]]:
    """Coverage in percent of `interval` by t and BCa bootstrap, for each distribution and number of seeds."""
    lines = [["distribution", "values", "t", "BCa"]]
    for shape in ("normal", "skewed", "heavy"):
        for count in (*SEEDS, 20):
            noise, rng = Noise("", shape=shape), np.random.default_rng(0)
            values = noise.standard(rng, (repeats, count))
            found = []
            for method in ("t", "bca"):
                bounds = [interval(list(v), method=method) for v in values]
                held = [b.low is not None and b.high is not None and b.low <= 0 <= b.high for b in bounds]
                found.append(f"{100 * np.mean(held):.1f}")
            lines.append([shape, str(count), *found])
    return lines


def pipes(lines: list[list[str]]) -> str:
    rule = [":---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20000)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/statistics.md")
    options = parser.parse_args()
    tables = {
        "delta_m": pipes(delta_m_table(options.repeats)),
        "means": pipes(mean_table(options.repeats // 10)),
    }
    for name, table in tables.items():
        print(table, end="\n\n")
        if options.write:
            start, end = f"<!-- coverage of {name} -->", "<!-- end -->"
            text = PAGE.read_text(encoding="utf-8")
            pattern = rf"{re.escape(start)}.*?{re.escape(end)}"
            PAGE.write_text(
                re.sub(pattern, f"{start}\n{table}\n{end}", text, flags=re.DOTALL), encoding="utf-8"
            )


if __name__ == "__main__":
    main()

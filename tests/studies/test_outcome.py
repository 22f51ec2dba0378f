"""What a study leaves: the best setting as a file, and its comparison with the defaults."""

from pathlib import Path

import pytest
import yaml
from study_bench import StudyBench, result_of

from mtlbench.collect import collect
from mtlbench.config import load_grid
from mtlbench.folder import Job
from mtlbench.registry import Registry
from mtlbench.studies.comparison import compare_settings, gains, verdict
from mtlbench.studies.outcome import write_outcome
from mtlbench.studies.records import TrialRecord, read_studies


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([2.0], "one seed: whether tuning helps can't be said"),
        ([2.0, 2.2, 1.9], "tuning helps"),
        ([-2.0, -2.2, -1.9], "what was tuned is worse than the default"),
        ([2.0, -2.2, 1.9], "the interval holds 0, so chance alone may be behind it"),
        ([], "the comparison is not complete"),
    ],
)
def test_no_more_is_said_than_the_seeds_allow(found: list[float], words: str) -> None:
    assert words in verdict(found)


def test_grids_can_include_the_best_setting(tmp_path: Path, tiny_registry: Registry) -> None:
    space = {"balancer": "declared", "recipe.lr": {"low": 0.001, "high": 0.1, "log": True}}
    bench = StudyBench(tmp_path, tiny_registry, space=space)
    study, _, _ = bench.work(8)
    best = study.record.best[0]
    assert best > 0
    file = write_outcome(study, bench.runs.root)
    assert file is not None
    assert f"Best of 8 trials of the study {study.plan.name}: trial {best}" in file.read_text()
    content = yaml.safe_load(bench.file.read_text())
    rest = {key: content[key] for key in ("plugins", "dataset", "tasks", "backbone", "method", "baseline")}
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(rest | {"include": str(file)}))
    grid = load_grid(tmp_path / "new.yaml", tiny_registry)
    tuned = study.plan.cells(study.values_of(best), 0)[0]
    assert grid.balancers[0].choice == tuned.balancer
    assert grid.recipes[0].recipe == tuned.recipe
    record = read_studies(bench.runs.root, "tiny")[0]
    assert record.settings == [yaml.safe_load(file.read_text())], "reports have the same"
    used = record.used(record.trials[best])
    assert {f"balancer.weights.{t}": w for t, w in tuned.balancer.options["weights"].items()} | {
        "recipe.lr": tuned.recipe.lr
    } == used, "and not what was drawn"


def test_of_a_trial_that_is_being_drawn_no_values_are_known(tmp_path: Path, tiny_registry: Registry) -> None:
    record = StudyBench(tmp_path, tiny_registry).study().record
    begun = TrialRecord(number=1, state="running", parameters={"balancer.weights.semseg": 2.0})
    assert record.used(begun) == {}
    assert record.used(record.trials[0]) == {"balancer.weights.semseg": 1.0, "balancer.weights.depth": 1.0}


def test_best_and_default_are_compared_on_all_images_and_the_grids_seeds(
    tmp_path: Path, tiny_registry: Registry
) -> None:
    space = {"balancer": "declared", "recipe.lr": {"low": 0.001, "high": 0.1, "log": True}}
    bench = StudyBench(tmp_path, tiny_registry, space=space)
    study, _, _ = bench.work(8)
    comparison = compare_settings(bench.grid, [study], tiny_registry)
    assert [row.role for row in comparison.plan.rows] == ["baseline", "candidate", "candidate"]
    assert comparison.rows == {study.plan.name: (1, 2)}
    assert [row.labels["balancer"] for row in comparison.plan.rows[1:]] == ["equal", "equal, tuned"]
    assert len({row.labels["recipe"] for row in comparison.plan.rows}) == 1, "so that the baseline is found"
    assert all(cell.holdout == 0 and cell.seed in (0, 1) for cell in comparison.plan.cells)
    steps = {(cell.recipe.iterations, cell.recipe.batch_size) for cell in comparison.plan.cells}
    assert len(steps) == 1, "at equal budget"

    for cell in comparison.plan.cells:
        folder = bench.runs.folder(cell)
        folder.create(Job(cell=cell, folder=folder.path))
        folder.finish(result_of(cell))
    bench.runs.save_grid(comparison.name, [row.record() for row in comparison.plan.rows])
    study.compared_in(comparison.name)
    results = collect(bench.runs, comparison.name)
    assert [found.name for found in results.studies] == [study.plan.name]
    found = results.delta_m.set_index(["row", "seed"])["delta_m"]
    expected = [found[2, seed] - found[1, seed] for seed in (0, 1)]
    assert gains(results, 1, 2, study.higher) == pytest.approx(expected)
    assert min(expected) > 1


def test_a_default_that_is_best_is_not_compared_with_itself(tmp_path: Path, tiny_registry: Registry) -> None:
    bench = StudyBench(tmp_path, tiny_registry)
    study, _, _ = bench.work(1)
    assert write_outcome(study, bench.runs.root) is not None
    comparison = compare_settings(bench.grid, [study], tiny_registry)
    assert comparison.rows == {study.plan.name: (1, None)}
    assert len(comparison.plan.rows) == 2

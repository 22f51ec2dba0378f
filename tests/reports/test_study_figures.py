"""Figures of studies: what they show, when they are left out, and that every shape of a study is survived."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from mtlbench.reports.figures import Chart, studies, studies_front, studies_history, studies_importance
from mtlbench.reports.figures.studies_slices import scale_axis
from mtlbench.reports.figures.studies_trials import Parameter, Trials, read_trials
from PIL import Image
from results_factory import UGLY, make_results
from studies_factory import DEFAULTS, make_study

from mtlbench.results import Results
from mtlbench.studies.records import StudyRecord

KEYS = ("recipe.lr", "method.depth")
ALL = ["history", "importance", "slices", "parallel", "front"]


def with_studies(*found: StudyRecord) -> Results:
    return replace(make_results(), studies=found)


def names(*found: StudyRecord) -> list[str]:
    return [chart.name for chart in studies.charts(with_studies(*found))]


def trials_of(study: StudyRecord) -> Trials:
    return read_trials(with_studies(study))[0]


def check(charts: list[Chart]) -> None:
    for chart in charts:
        with Image.open(BytesIO(chart.png)) as image:
            assert np.asarray(image.convert("L")).var() > 10
            assert image.size[0] >= 2.4 * 200


def test_all_figures_of_a_study() -> None:
    charts = studies.charts(with_studies(make_study(pruned=True, failed=True)))
    assert [chart.name for chart in charts] == [f"study_{name}" for name in ALL]
    check(charts)


def test_studies_share_what_compares_them() -> None:
    found = names(make_study(), make_study(number=1, label="cagrad"), make_study(number=2, label=UGLY))
    assert found[:2] == ["study_history", "study_importance"]
    assert found[2:] == [f"study_{i}_{name}" for i in (1, 2, 3) for name in ALL[2:]]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"trials": 0}, []),
        ({"trials": 1}, []),
        ({"trials": 2}, ["history"]),
        ({"trials": 11}, ["history", "slices", "parallel", "front"]),
        ({"keys": ("recipe.lr",)}, ["history", "slices", "front"]),
        ({"keys": ("balancer.weights",)}, ["history", "slices", "front"]),
        ({"tasks": 1}, ["history", "importance", "slices", "parallel"]),
        ({"objective": ("semseg", "depth")}, ["importance", "slices_1", "slices_2", "parallel", "front"]),
        ({"default": False}, ALL),
    ],
)
def test_what_has_no_data_is_left_out(options: dict[str, object], left: list[str]) -> None:
    assert names(make_study(**options)) == [f"study_{name}" for name in left]  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"objective": ("semseg", "normals"), "label": UGLY}, {"default": False}])
def test_other_shapes_are_drawn(options: dict[str, object]) -> None:
    check(studies.charts(with_studies(make_study(trials=14, keys=KEYS, **options))))  # type: ignore[arg-type]


def test_no_studies_no_figures() -> None:
    assert studies.charts(make_results()) == []


def test_history_shows_the_best_so_far_and_marks() -> None:
    study = make_study(trials=20, pruned=True, failed=True)
    figure = studies_history.draw([trials_of(study)])
    (axes,) = figure.axes
    lines = {tuple(line.get_xdata()): line for line in axes.lines}  # type: ignore[arg-type]
    complete = [trial.number for trial in study.trials if trial.state == "complete"]
    values = [trial.values[0] for trial in study.trials if trial.values]
    best = next(line for line in axes.lines if line.get_drawstyle() == "steps-post").get_ydata()
    assert list(best) == [max(values[: i + 1]) for i in range(len(values))]
    assert [n for n in range(20) if n not in complete] == sorted(
        n for key in lines for n in key if key and lines[key].get_marker() in "ox" and n not in complete
    )
    pruned = next(line for line in axes.lines if line.get_markerfacecolor() == "white")
    reached = [t.steps[100] for t in study.trials if t.state == "pruned"]
    assert list(pruned.get_ydata()) == reached
    assert legend_of(figure) == ["trial", "best so far", "default", "pruned", "failed"]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_weights_are_shown_as_they_were_used() -> None:
    trials = trials_of(make_study(keys=("balancer.weights",)))
    (weight,) = trials.parameters
    assert weight.name == "weights.semseg"
    raw = [t.parameters for t in trials.study.trials]
    ratios = [p["balancer.weights.semseg"] / p["balancer.weights.depth"] for p in raw]  # type: ignore[operator]
    np.testing.assert_allclose(weight.values / (2 - weight.values), ratios, rtol=0.05)  # four digits
    assert weight.values[0] == DEFAULTS["balancer.weights"]["semseg"]


def test_the_parameter_that_matters_is_found() -> None:
    trials = trials_of(make_study(trials=200, keys=("recipe.lr", "recipe.warmup", "recipe.optimizer")))
    shares = studies_importance.importances(trials, 0)
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)


def test_importances_need_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert names(make_study()) == [f"study_{name}" for name in ALL if name != "importance"]


def test_names_keep_their_family_where_they_would_be_the_same() -> None:
    study = make_study(keys=("recipe.lr",), trials=3)
    parameters = [t.parameters | {"balancer.lr": 0.5} for t in study.trials]
    both = study.model_copy(
        update={
            "space": study.space | {"balancer.lr": {"low": 0, "high": 1}},
            "defaults": study.defaults | {"balancer.lr": 0.5},
            "trials": [
                t.model_copy(update={"parameters": p}) for t, p in zip(study.trials, parameters, strict=True)
            ],
        }
    )
    assert [p.name for p in trials_of(both).parameters] == ["recipe.lr", "balancer.lr"]


def test_the_front_of_all_tasks() -> None:
    gains = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0], [0.5, 0.5], [2.0, 0.0], [1.0, 0.9]])
    assert studies_front.unbeaten(gains) == [0, 1, 2, 4]


def test_better_is_up_and_to_the_right() -> None:
    results = with_studies(make_study(tasks=2))
    (chart,) = studies_front.charts(read_trials(results)[0], "study", results)
    (axes,) = chart.draw().axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("semseg mIoU ↑", "depth rmse ↓")
    assert not axes.xaxis_inverted()
    assert axes.yaxis_inverted()


def test_axes_are_those_of_the_space() -> None:
    axes = Figure().subplots()
    scale_axis(axes, Parameter("lr", np.array([0.001, 0.1]), log=True))
    assert axes.get_xscale() == "log"
    axes = Figure().subplots()
    scale_axis(axes, Parameter("optimizer", np.array([0.0, 1.0]), choices=("sgd", "adamw")))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sgd", "adamw"]

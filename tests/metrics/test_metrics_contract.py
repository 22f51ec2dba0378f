"""What the metrics of all tasks have in common."""

import math
import warnings
from collections.abc import Callable
from functools import partial

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import ALL, SCORED, by_batch, one_hot, random_labels, scores
from torch import Tensor

from mtlbench import catalogue, tasks
from mtlbench.boundary.protocols import PROTOCOLS
from mtlbench.errors import MtlbenchError
from mtlbench.registry import registry


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
def test_the_catalogue_lists_what_metrics_give(task: tasks.Task) -> None:
    found = scores(task.metric(), torch.randn(2, task.channels, 6, 7), random_labels(task, 2))
    assert set(found) == {variant.name for variant in catalogue.variants(task.name)}
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("name", registry.names("dataset"))
def test_published_tables_are_about_variants_that_are_computed(name: str) -> None:
    dataset = registry.load("dataset", name)
    for table, chosen in dataset.published.items():
        for task, variant in chosen.items():
            assert catalogue.find(task, variant).name == variant, table
            assert task in dataset.tasks, table
            if task != "edge":  # whose metric computes one protocol
                assert variant in scores_of_nothing(dataset.tasks[task]), table


def test_the_catalogue_lists_every_boundary_protocol() -> None:
    found = {name for protocol in PROTOCOLS for name in scores_of_nothing(tasks.edge(protocol=protocol))}
    assert found == {variant.name for variant in catalogue.variants("edge")}


@pytest.mark.parametrize(
    ("make", "primary"),
    [
        (partial(tasks.semseg, ("a",)), "pixacc.dataset"),
        (partial(tasks.human_parts, ("a",)), "parts.mti_online"),
        (tasks.sal, "sal.miou.image"),
        (tasks.depth, "depth.abs_err"),
        (tasks.normals, "normals.11.25.batches"),
    ],
)
def test_any_variant_can_be_the_primary_one(make: Callable[..., tasks.Task], primary: str) -> None:
    task = make(primary=primary)
    variant = catalogue.find(task.name, primary)
    assert (task.primary, task.column, task.scale) == (primary, variant.column, variant.scale)
    assert task.higher_is_better == variant.higher_is_better
    assert primary in scores_of_nothing(task)
    with pytest.raises(MtlbenchError, match=f"did you mean .*`{primary}`"):
        make(primary=f"{primary}x")


@pytest.mark.parametrize("task", ALL.values(), ids=ALL)
def test_batching_changes_nothing(task: tasks.Task) -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(4, task.channels, 6, 7), random_labels(task, 4)
    whole, parts = task.metric(), task.metric()
    whole.update(logits, labels)
    for i in range(4):
        parts.update(logits[i : i + 1], labels[i : i + 1])
    assert task.primary in whole.compute()
    assert whole.compute() == pytest.approx(parts.compute(), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("task", ALL.values(), ids=ALL)
def test_states_of_two_ranks_add_up_to_the_whole(task: tasks.Task) -> None:
    """Counts to the last one, float64 sums up to the order of additions; the ranks' last groups are open."""
    torch.manual_seed(5)
    logits, labels = torch.randn(11, task.channels, 6, 7), random_labels(task, 11)
    whole, first, second = task.metric(), task.metric(), task.metric()
    whole.update(logits, labels)
    first.update(logits[:8], labels[:8])
    second.update(logits[8:], labels[8:])
    for name in whole._defaults:
        state, other = getattr(first, name), getattr(second, name)
        assert state.dtype in (torch.int64, torch.float64), name
        assert whole._reductions[name] is torch.sum or "sum" in str(whole._reductions[name]), name
        if state.dtype == torch.int64:
            assert torch.equal(state + other, getattr(whole, name)), name
        setattr(first, name, state + other)
    first._computed = None
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-13, nan_ok=True)


def scores_of_nothing(task: tasks.Task) -> dict[str, float]:
    """Without an update."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchmetrics: compute before update
        return task.metric().compute()


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
def test_no_label_at_all_is_nan_and_never_zero(task: tasks.Task) -> None:
    labels = torch.full_like(random_labels(task, 2), task.fill)
    for found in (
        scores_of_nothing(task),
        scores(task.metric(), torch.randn(2, task.channels, 6, 7), labels),
    ):
        assert {name: value for name, value in found.items() if not math.isnan(value)} == {}


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
def test_a_prediction_that_is_nan_spoils_every_score(task: tasks.Task) -> None:
    logits = torch.randn(2, task.channels, 6, 7)
    labels = random_labels(task, 2)
    logits[0, 0, 3, 0] = math.nan  # where no label is
    assert not math.isnan(scores(task.metric(), logits, labels)[task.primary])
    logits[0, 0, 3, 3] = math.nan
    found = scores(task.metric(), logits, labels)
    assert {name: value for name, value in found.items() if not math.isnan(value)} == {}


@pytest.mark.parametrize("task", ALL.values(), ids=ALL)
def test_no_random_constant_beats_the_task_s_constant(task: tasks.Task) -> None:
    torch.manual_seed(2)
    labels = random_labels(task, 4)
    sign = 1 if task.higher_is_better else -1

    def score(logits: Tensor) -> float:
        found = scores(task.metric(), logits.view(1, -1, 1, 1).expand(4, -1, 6, 7), labels)
        return sign * found[task.primary]

    best = score(task.constant(labels))
    slack = 2.0 if task.name == "normals" else 1e-6  # the mean direction is near the best one, not the best
    assert all(best >= score(3 * torch.randn(task.channels)) - slack for _ in range(50))


def perfect(task: tasks.Task, labels: Tensor) -> Tensor:
    if task.name in ("depth", "normals"):
        return labels.clone()
    return 20 * one_hot(labels.clamp(max=task.channels - 1), task.channels) - 10


BEST: dict[bool, Callable[[catalogue.Variant], float]] = {
    True: lambda variant: 100.0 if variant.unit == "percent" else 1.0,
    False: lambda variant: 0.0,
}
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_perfect_prediction_gets_the_best_value(task: tasks.Task, seed: int) -> None:
    """But for 8 bits, which cost an angle; void, which is wrong in `miou.image`; and absent classes."""
    torch.manual_seed(seed)
    labels = random_labels(task, 3)
    if task.classes:
        labels[0].flatten()[-task.channels :] = torch.arange(task.channels)
    found = scores(task.metric(), perfect(task, labels), labels)
    for variant in catalogue.variants(task.name):
        best = BEST[variant.higher_is_better](variant)
        if variant.name.endswith("pixels.file"):
            assert found[variant.name] == pytest.approx(best, abs=1.0)
        elif variant.name == "miou.image":
            assert found[variant.name] <= best
        else:
            assert found[variant.name] == pytest.approx(best, abs=1e-6), variant.name


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
@given(seed=seeds, noise=npst.arrays(np.float32, (3, 6, 7), elements=st.floats(-50, 50, width=32)))
@settings(max_examples=15, deadline=None)
def test_predictions_without_a_label_never_matter(task: tasks.Task, seed: int, noise: np.ndarray) -> None:
    """`miou.image` alone looks at them, as published."""
    torch.manual_seed(seed)
    logits, labels = torch.randn(3, task.channels, 6, 7), random_labels(task, 3)
    invalid = ~task.valid(labels)[:, None]
    other = torch.where(invalid, torch.from_numpy(noise)[:, None] + torch.randn_like(logits), logits)
    before, after = scores(task.metric(), logits, labels), scores(task.metric(), other, labels)
    before.pop("miou.image", None), after.pop("miou.image", None)
    assert before == pytest.approx(after, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_images_matters_to_batch_means_only(task: tasks.Task, seed: int) -> None:
    torch.manual_seed(seed)
    logits, labels, order = torch.randn(5, task.channels, 6, 7), random_labels(task, 5), torch.randperm(5)
    before, after = scores(task.metric(), logits, labels), scores(task.metric(), logits[order], labels[order])
    for name, value in before.items():
        if not by_batch(name):
            assert after[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name

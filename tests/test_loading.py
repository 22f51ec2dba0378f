import pytest
import torch
from plugins.tiny import Tiny

from mtlbench.errors import MtlbenchError
from mtlbench.loading import evaluation_batches, steps_per_epoch, train_batches
from mtlbench.spec import Recipe

TASKS = {"depth": Tiny.tasks["depth"]}
RECIPE = Recipe(iterations=6, batch_size=4)


def stream(
    start: int = 0, recipe: Recipe = RECIPE, rank: int = 0, ranks: int = 1, seed: int = 0
) -> list[dict]:
    dataset = Tiny("train", ("depth",), images=10)
    return list(
        train_batches(dataset, TASKS, recipe, seed=seed, start=start, rank=rank, ranks=ranks, workers=0)
    )


def test_every_epoch_is_a_permutation_without_its_incomplete_end() -> None:
    ids = [batch["id"] for batch in stream()]
    assert len(ids) == 6
    assert steps_per_epoch(Tiny("train", ("depth",), images=10), RECIPE) == 2
    epochs = [ids[i] + ids[i + 1] for i in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_resumed_stream_is_the_same_stream() -> None:
    whole, rest = stream(), stream(start=4)
    for a, b in zip(whole[4:], rest, strict=True):
        assert a["id"] == b["id"]
        assert torch.equal(a["image"], b["image"]), "augmentation draws are those of the position"


def test_seeds_differ() -> None:
    assert [b["id"] for b in stream()] != [b["id"] for b in stream(seed=1)]


def test_ranks_and_micro_batches_share_out_the_same_batch() -> None:
    whole = stream()
    shares = [stream(rank=rank, ranks=2) for rank in (0, 1)]
    micro = stream(recipe=RECIPE.model_copy(update={"accumulate": 2}))
    for i, batch in enumerate(whole):
        assert sorted(shares[0][i]["id"] + shares[1][i]["id"]) == sorted(batch["id"])
        assert micro[2 * i]["id"] + micro[2 * i + 1]["id"] == batch["id"]


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    dataset = Tiny("train", ("depth",))
    torch.manual_seed(5)
    dataset_stream = evaluation_batches(dataset, TASKS, batch_size=4)
    torch.manual_seed(5)
    next(dataset_stream)
    assert torch.equal(torch.rand(1), expected)


def test_evaluation_sees_every_image_once() -> None:
    dataset = Tiny("val", ("depth",), images=7)
    ids = [i for b in evaluation_batches(dataset, TASKS, batch_size=3) for i in b["id"]]
    assert ids == [f"{i:04d}" for i in range(7)]


@pytest.mark.parametrize("images", [1, 8, 21, 40])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_evaluate_whole_groups_of_eight(images: int, ranks: int) -> None:
    dataset = Tiny("val", ("depth",), images=images)
    shares = [
        [i for b in evaluation_batches(dataset, TASKS, batch_size=3, rank=rank, ranks=ranks) for i in b["id"]]
        for rank in range(ranks)
    ]
    assert [i for share in shares for i in share] == [f"{i:04d}" for i in range(images)]
    assert all(int(share[0]) % 8 == 0 for share in shares if share)
    assert max(map(len, shares)) <= 8 * -(-images // (8 * ranks)), "no rank has more than it must"


@pytest.mark.parametrize(
    ("recipe", "ranks", "message"),
    [
        (Recipe(batch_size=16), 1, "at most the number of training images, got 16 of 10"),
        (Recipe(batch_size=4), 3, "must be a multiple of devices x accumulate, got 4 and 3 x 1"),
    ],
)
def test_batches_that_cannot_be_made(recipe: Recipe, ranks: int, message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        stream(recipe=recipe, ranks=ranks)

"""One of two processes that train every kind of balancer together: python ddp_worker.py ROOMS RESULT."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conftest import TINY_PLUGINS
from lightning_fabric import Fabric
from torch import Tensor
from trainings import Sparse, every_kind, make_rooms, parameters, trainer_of

from mtlbench.evaluation import evaluate
from mtlbench.loading import evaluation_batches
from mtlbench.registry import registry


def scored_on_the_way(place: Path, rooms: Path, fabric: Fabric) -> dict[str, Tensor]:
    """FAMO again, with scores of all images after every second step."""
    options: dict[str, Any] = {"norms": False, "fabric": fabric, "batch_size": 4}
    dataset = Sparse(make_rooms(rooms), "depth")
    trainer = trainer_of(place / "scored", dataset, "famo", **options, execution={"evaluate_every": 2})

    def score(between: Callable[[], None]) -> dict[str, float]:
        ranks = {"rank": fabric.global_rank, "ranks": fabric.world_size}
        batches = evaluation_batches(dataset, trainer.tasks, batch_size=3, **ranks)
        found = evaluate(trainer.network, batches, trainer.tasks, fabric, trainer.recipe, between)
        return {name: found[name][task.primary] for name, task in trainer.tasks.items()}

    trainer.evaluate = score
    trainer.train()
    return parameters(trainer)


def main(rooms: Path, result: Path) -> None:
    registry.add_file(TINY_PLUGINS)
    registry.add_file(TINY_PLUGINS.with_name("tiny_blocks.py"))
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true")
    fabric.launch()
    found = {}
    for name, trainer in every_kind(result.parent / f"rank{fabric.global_rank}", make_rooms(rooms), fabric):
        trainer.train()
        found[name] = parameters(trainer)
    found["scored"] = scored_on_the_way(result.parent, rooms, fabric)
    torch.save(found, f"{result}{fabric.global_rank}")


main(Path(sys.argv[1]), Path(sys.argv[2]))

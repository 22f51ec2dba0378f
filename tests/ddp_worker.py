"""One of two processes that train every kind of balancer together: python ddp_worker.py ROOMS RESULT."""

import sys
from pathlib import Path

import torch
from conftest import TINY_PLUGINS
from lightning_fabric import Fabric
from trainings import KINDS, Sparse, make_rooms, parameters, trainer_of

from mtlbench.registry import registry


def main(rooms: Path, result: Path) -> None:
    registry.add_file(TINY_PLUGINS)
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true")
    fabric.launch()
    found = {}
    for name, options in KINDS.items():
        folder = result.parent / f"{name}-{fabric.global_rank}"
        dataset = Sparse(make_rooms(rooms), "depth")
        trainer = trainer_of(folder, dataset, name, options, norms=False, fabric=fabric, batch_size=4)
        trainer.train()
        found[name] = parameters(trainer)
    torch.save(found, f"{result}{fabric.global_rank}")


main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Counts of whole networks, without data files and where possible without memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.building import build_network, learned_tasks, without_weights
from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.profiling.encoder import EncoderCounter
from mtlbench.profiling.modules import ModuleCounter
from mtlbench.profiling.products import count_encoder_trainable, count_parameters, pass_one_image
from mtlbench.registry import registry
from mtlbench.spec import Cell
from mtlbench.tasks import Tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """Of one network, or of several together; multiply-accumulates of one image.

    Attributes:
        trainable: all that train; `encoder_trainable` those in the backbone, adapters included, and
            `decoder_trainable` the others.
        encoder_passes: images that enter the encoder for one image (`mtlbench.profiling.encoder`).
    """

    parameters: int
    trainable: int
    macs: int
    module_macs: int
    encoder_trainable: int
    decoder_trainable: int
    encoder_passes: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def count_network(network: nn.Module, size: tuple[int, int]) -> Counts:
    """All counts by one forward pass of a (3, H, W) image, on the network's device."""
    with (
        FlopCounterMode(display=False) as products,
        ModuleCounter(network) as modules,
        EncoderCounter(network) as encoder,
    ):
        pass_one_image(network, size)
    parameters, trainable = count_parameters(network)
    inside = count_encoder_trainable(network)
    return Counts(
        parameters=parameters,
        trainable=trainable,
        macs=products.get_total_flops() // 2,
        module_macs=modules.total,
        encoder_trainable=inside,
        decoder_trainable=trainable - inside,
        encoder_passes=encoder.images,
    )


def count_cell(cell: Cell, size: tuple[int, int]) -> Counts:
    """The counts of a cell's network, which is built without weights or memory.

    One that can't do without real numbers is built on the CPU.
    """
    light = without_weights(cell)
    tasks = tasks_of(cell)
    try:
        with torch.device("meta"):
            return count_network(build_network(light, tasks), size)
    except MtlbenchError:
        raise
    except Exception as error:  # whatever an operator raises that lacks shapes-only arithmetic
        log.debug("%s on %s is counted on the CPU: %s", cell.method, cell.backbone, error)
    return count_network(build_network(light, tasks), size)


def has_parameters(cell: Cell) -> bool:
    """Whether its network has any; built, without memory, where it has no backbone that would."""
    if registry.load("method", cell.method.name).needs_backbone:
        return True
    with torch.device("meta"):
        return next(build_network(without_weights(cell), tasks_of(cell)).parameters(), None) is not None


def build_unweighted(cell: Cell) -> Method:
    """A cell's network with random weights, on the CPU."""
    return build_network(without_weights(cell), tasks_of(cell))


def tasks_of(cell: Cell) -> Tasks:
    """All that the cell's network learns."""
    known = registry.load("dataset", cell.dataset.name).tasks
    return {name: known[name] for name in learned_tasks(cell)}

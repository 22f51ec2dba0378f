"""Frozen weights of a backbone: files of trained weights leave them out, and know them again by checksums.

They come again from where they came from: the backbone's weights, or the seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.portable import Weights
from mtlbench.spec import Cell

Checksums = Mapping[str, str]
"""Name of a state-dict entry -> checksum of its value."""


def frozen_checksums(network: Method) -> dict[str, str]:
    """Of the backbone's parameters that don't train, as they are now."""
    inside = set(network.backbone.parameters()) if network.needs_backbone else set()
    inside.update(network.backbone_parameters())
    return {
        name: checksum(parameter)
        for name, parameter in network.named_parameters(remove_duplicate=False)
        if parameter in inside and not parameter.requires_grad
    }


def checksum(value: Tensor) -> str:
    plain = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.sha256(plain.data).hexdigest()[:16]


def trained_state(network: Method, frozen: Checksums) -> dict[str, Tensor]:
    """The network's state without the entries that were frozen and still are."""
    training = {name for name, p in network.named_parameters(remove_duplicate=False) if p.requires_grad}
    state = network.state_dict().items()
    return {name: value for name, value in state if name not in frozen or name in training}


def load_trained(network: Method, state: Mapping[str, Tensor], frozen: Checksums, path: Path | str) -> None:
    """Load what a file holds into a network that has the frozen entries which the file left out.

    Raises:
        MtlbenchError: they are others than those that the file's weights were trained on.
    """
    own: dict[str, Tensor] = network.state_dict()
    wrong = [name for name, known in frozen.items() if name not in own or checksum(own[name]) != known]
    if wrong:
        raise MtlbenchError(
            f"{path} holds what was trained on other frozen weights: {len(wrong)} of {len(frozen)} that the "
            f"backbone has now differ from those of then, `{wrong[0]}` is the first. They come from "
            "`backbone.weights` (a file, a download, or the seed with `none`), which has to be what it was"
        )
    network.load_state_dict({name: own[name] for name in frozen} | dict(state))


def final_weights(network: Method, cell: Cell, built: Checksums) -> dict[str, Any]:
    """For the file of weights that training ended with.

    Args:
        network: trained.
        cell: what `build_network` made it of.
        built: `frozen_checksums` of what it made; frozen weights that it does not make again are kept.
    """
    left = {name: now for name, now in frozen_checksums(network).items() if built.get(name) == now}
    saved = Weights.of(network).saved()
    kept = {name: value for name, value in saved["network"].items() if name not in left}
    return {**saved, "network": kept, "frozen": left, "cell": cell.model_dump_json()}


def read_tuned(path: str) -> dict[str, Any] | None:
    """The content of a file of ours that holds less than a whole network, or a tuned one; else None."""
    content = _read_ours(path)
    if content is None:
        return None
    untuned = Cell.model_fields["tuning"].default
    tuned = Cell.model_validate_json(content["cell"]).tuning != untuned
    return content if content["frozen"] or tuned else None


def read_cell(path: str) -> Cell | None:
    """The cell whose final weights a file holds; None if it is not of ours."""
    content = _read_ours(path)
    return None if content is None else Cell.model_validate_json(content["cell"])


def _read_ours(path: str) -> dict[str, Any] | None:
    try:
        content: Any = torch.load(path, "cpu", weights_only=True, mmap=True)
    except Exception:  # not of ours: whoever reads it next says what is wrong with it
        return None
    ours = isinstance(content, dict) and {"network", "frozen", "cell"} <= content.keys()
    return content if ours else None

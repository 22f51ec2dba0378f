"""Weights of whole networks: our checkpoints, and those that the methods' authors published."""

from collections.abc import Mapping

from torch import Tensor

from mtlbench.model import Method
from mtlbench.published import from_published
from mtlbench.weights import load_first_fitting, read_state, strip_prefix

LEFT_OUT = ("criterion.", "loss.")
"""Published checkpoints may hold their losses' buffers."""


def published_to_ours(method: Method, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict, of a whole model (`backbone.`, `head.`) or of a head alone, under our names."""
    state = {key: value for key, value in state.items() if not key.startswith(LEFT_OUT)}
    head = {key: value for key, value in state.items() if not key.startswith("backbone.")}
    ours = from_published(strip_prefix(head, "head."), method.published_keys)
    if len(head) < len(state):
        backbone = from_published(strip_prefix(state, "backbone."), method.backbone.published_keys)
        ours |= {f"backbone.{key}": value for key, value in method.backbone.adapt(backbone).items()}
    return ours


def load_method_weights(method: Method, path: str) -> None:
    """Load a whole network from a file with our names or the published ones.

    Raises:
        MtlbenchError: no such file, or it doesn't fit: every difference is listed with both shapes.
    """
    state = strip_prefix(read_state(path), "module.")
    load_first_fitting(method, (state, published_to_ours(method, state)), origin=path)

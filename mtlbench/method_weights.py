"""Weights of whole networks: our checkpoints, and those that the methods' authors published."""

from collections.abc import Mapping

from torch import Tensor

from mtlbench.model import Method
from mtlbench.published import from_published
from mtlbench.weights import load_first_fitting, read_state, strip_prefix

LEFT_OUT = ("criterion.", "loss.")
"""Published checkpoints may hold their losses' buffers."""

TRUNK = "backbone."


def published_to_ours(method: Method, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict, of a whole model (`backbone.`, `head.`) or of a head alone, under our names.

    The method's rules see every key, the backbone's those that then begin with `backbone.`.
    """
    kept = {key.removeprefix("head."): v for key, v in state.items() if not key.startswith(LEFT_OUT)}
    ours = from_published(kept, method.published_keys)
    trunk = {key.removeprefix(TRUNK): ours.pop(key) for key in list(ours) if key.startswith(TRUNK)}
    if trunk:
        renamed = method.backbone.adapt(from_published(trunk, method.backbone.published_keys))
        ours |= {f"{TRUNK}{key}": value for key, value in renamed.items()}
    return ours


def load_method_weights(method: Method, path: str) -> None:
    """Load a whole network from a file with our names or the published ones.

    Raises:
        MtlbenchError: no such file, or it doesn't fit: every difference is listed with both shapes.
    """
    load_method_state(method, strip_prefix(read_state(path), "module."), path)


def load_method_state(method: Method, state: Mapping[str, Tensor], path: str) -> None:
    """The same for what a file held, which errors name."""
    load_first_fitting(method, (state, published_to_ours(method, state)), origin=path)

"""Where a backbone's initial weights come from: nowhere, timm's download, or a file."""

from typing import Any, TypeVar

import timm

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.published import from_published
from mtlbench.weights import CLASSIFIER, PREFIXES, load_first_fitting, read_state, strip_prefix

AnyBackbone = TypeVar("AnyBackbone", bound=Backbone)


def timm_model(name: str, weights: str, **options: Any) -> Any:
    """A model of timm, with its ImageNet weights for `weights="pretrained"`.

    Raises:
        MtlbenchError: the download failed; the message says how to go on without network.
    """
    if weights != "pretrained":
        return timm.create_model(name, pretrained=False, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # whatever the hub's client of the day raises
        raise MtlbenchError(
            f"pretrained weights of `{name}` can't be had ({type(error).__name__}: {_first_line(error)}). "
            f"Without network: fetch {_address(name)} elsewhere and pass the file's path as `weights`, "
            "or pass `weights: none`"
        ) from error


def with_weights(backbone: AnyBackbone, weights: str, trunk: Any = None) -> AnyBackbone:
    """The backbone, its weights loaded where that is a file, its colours set where they come from timm."""
    if weights == "pretrained" and trunk is not None:
        backbone.mean = tuple(trunk.pretrained_cfg["mean"])
        backbone.std = tuple(trunk.pretrained_cfg["std"])
    elif weights not in ("none", "pretrained"):
        load_file_weights(backbone, weights)
    return backbone


def load_file_weights(backbone: Backbone, path: str) -> None:
    """Load a file that names its entries as we, timm or the published code do.

    Raises:
        MtlbenchError: no such file, or it doesn't fit: every difference is listed with both shapes.
    """
    state = read_state(path)
    for prefix in PREFIXES:
        state = strip_prefix(state, prefix)
    namings = ((), backbone.timm_keys, backbone.published_keys)
    ours = backbone.state_dict().keys()
    candidates = []
    for rules in namings:
        named = backbone.adapt(from_published(state, rules))
        candidates.append({k: v for k, v in named.items() if k in ours or not CLASSIFIER.match(k)})
    load_first_fitting(backbone, candidates, origin=path, optional=backbone.without_weights)


def _address(name: str) -> str:
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return "the file"
    hub = config.hf_hub_id or ""
    full_name = f"{name}.{config.tag}" if config.tag and "." not in name else name
    repository = hub + full_name if hub.endswith("/") else hub
    return (
        f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
        if repository
        else str(config.url)
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

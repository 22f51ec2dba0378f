"""State dicts from files, under whatever names and wrappings they come in, into modules."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from mtlbench.errors import MtlbenchError
from mtlbench.pickles import load_tensors

WRAPPERS = ("state_dict", "model", "model_state", "net", "network")
PREFIXES = ("module.", "backbone.")
CLASSIFIER = re.compile(
    r"(trunk\.)?(head|fc|classifier|final_layer|incre_modules|downsamp_modules|conv_head|bn2|norm|fc_norm)\."
)
"""Parts of classification networks after the last feature map: a file may hold them, backbones don't."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file (.safetensors, .pth, .ckpt), wrapper layers removed; runs no code from it.

    Raises:
        MtlbenchError: there is no such file, or it holds no state dict.
    """
    file = Path(path)
    if not file.is_file():
        raise MtlbenchError(
            f"weights file not found: {path} (valid: none, pretrained, or a .safetensors, .pth or .ckpt file)"
        )
    try:
        loaded = load_file(file) if file.suffix == ".safetensors" else load_tensors(file)
    except Exception as error:  # a damaged file makes the unpickler fail in any way
        raise MtlbenchError(f"weights file {path} can't be read: {error}") from error
    return unwrap(loaded, str(path))


def unwrap(loaded: object, origin: str) -> dict[str, Tensor]:
    """Checkpoint -> the tensors of its state dict: {"state_dict": {...}} and the like opened."""
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    tensors = (
        {k: v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    )
    if not tensors:
        raise MtlbenchError(f"{origin} holds no state dict (a mapping from parameter names to tensors)")
    return tensors


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Only the entries with this prefix, without it; all entries where none has it."""
    chosen = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return chosen or dict(state)


def problems(module: nn.Module, state: Mapping[str, Tensor], *, optional: str = r"(?!)") -> list[str]:
    """What keeps `state` from loading into `module`, a line each; what matches `optional` may be missing."""
    ours, empty = module.state_dict(), _empty_buffers(module)
    found = [
        f"{key}: shape {tuple(state[key].shape)} in the file, {tuple(value.shape)} in the network"
        for key, value in ours.items()
        if key in state and state[key].shape != value.shape
    ]
    found += [
        f"{key}: not in the file, {tuple(value.shape)} in the network"
        for key, value in ours.items()
        if key not in state and not re.match(optional, key) and not key.endswith("num_batches_tracked")
    ]
    found += [
        f"{key}: {tuple(value.shape)} in the file, not in the network"
        for key, value in state.items()
        if key not in ours and key not in empty
    ]
    return found


def _empty_buffers(module: nn.Module) -> set[str]:
    """Names of buffers that hold nothing so far, but may in a file: what a search has decided, for one."""
    return {
        f"{prefix}.{name}".removeprefix(".")
        for prefix, child in module.named_modules()
        for name, value in child._buffers.items()
        if value is None and name not in child._non_persistent_buffers_set
    }


def load_first_fitting(
    module: nn.Module, candidates: Sequence[Mapping[str, Tensor]], *, origin: str, optional: str = r"(?!)"
) -> None:
    """Load the candidate (one file under different namings) that fits best.

    Raises:
        MtlbenchError: none fits; the differences of the nearest one are listed with both shapes.
    """
    best = min(candidates, key=lambda state: len(problems(module, state, optional=optional)))
    wrong = problems(module, best, optional=optional)
    if wrong:
        shown = "\n  ".join(wrong[:20]) + (f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else "")
        raise MtlbenchError(f"{origin} does not fit the network, {len(wrong)} entries differ:\n  {shown}")
    module.load_state_dict(dict(best), strict=False)  # strict=False: the optional entries, checked above

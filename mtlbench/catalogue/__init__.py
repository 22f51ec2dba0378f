"""Every metric variant in words: what it measures, in which unit, and who publishes it. Imports no torch."""

from mtlbench.catalogue.geometry import DEPTH, NORMALS
from mtlbench.catalogue.regions import EDGE, PARTS, SALIENCY, SEGMENTATION
from mtlbench.catalogue.variant import Variant
from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

__all__ = ["Variant", "find", "summary", "tasks", "variants"]

_VARIANTS = (*SEGMENTATION, *PARTS, *SALIENCY, *EDGE, *NORMALS, *DEPTH)


def variants(task: str | None = None) -> tuple[Variant, ...]:
    """All variants, or those of one task."""
    return tuple(v for v in _VARIANTS if task is None or task in v.tasks)


def tasks() -> tuple[str, ...]:
    """Names of the tasks that have variants, in the field's usual order."""
    return tuple(dict.fromkeys(task for v in _VARIANTS for task in v.tasks))


def find(task: str, name: str) -> Variant:
    """The variant `name` of `task`.

    Raises:
        MtlbenchError: there is none.
    """
    known = {v.name: v for v in variants(task)}
    if name not in known:
        raise MtlbenchError(unknown(f"metric variant of {task}", name, list(known)))
    return known[name]


def summary(name: str) -> str | None:
    """What a variant is, in words; None where it isn't in the catalogue."""
    return next((v.summary for v in _VARIANTS if v.name == name), None)

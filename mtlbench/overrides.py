"""`--set KEY=VALUE`: changes to a grid file from the command line."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from mtlbench.errors import MtlbenchError
from mtlbench.strict_yaml import parse_yaml, shown_text

_KEY_PATH = re.compile(r"[^.\[\]=]+(\.[^.\[\]=]+|\[\d{1,9}\])*")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set `a.b[1].c=value`; the value is YAML, missing mappings are made, names become mappings with `name`.

    Raises:
        MtlbenchError: it is not of that form, or there is no such place.
    """
    key, equals, text = override.partition("=")
    if not equals or not _KEY_PATH.fullmatch(key):
        form = "KEY=VALUE with a key such as recipe.iterations or method[1].depth"
        raise MtlbenchError(f"--set takes {form}, got {shown_text(override) or 'nothing'}")
    steps: list[Any] = [int(index) if index else name for name, index in _STEP.findall(key)]
    value = parse_yaml(text, f"--set {shown_text(override)}")
    target: Any = raw
    for step, following in pairwise(steps):
        if isinstance(target, dict) and isinstance(step, str):
            target.setdefault(step, {})
        elif not _is_place(target, step):
            raise _no_place(override, step)
        if isinstance(target[step], str) and isinstance(following, str):
            target[step] = {"name": target[step]}
        target = target[step]
    if not (isinstance(target, dict) and isinstance(steps[-1], str)) and not _is_place(target, steps[-1]):
        raise _no_place(override, steps[-1])
    target[steps[-1]] = value


def _is_place(target: Any, step: Any) -> bool:
    """Whether `step` is the index of an entry of a list."""
    return isinstance(target, list) and isinstance(step, int) and step < len(target)


def _no_place(override: str, step: Any) -> MtlbenchError:
    return MtlbenchError(f"--set {shown_text(override)}: the grid has no `{shown_text(str(step))}` there")

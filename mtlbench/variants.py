"""Variants of a method: which quirks of the published code a network keeps.

Where released code and paper differ, each difference is a *quirk* with a name. A method lists its quirks in
the docstring of its class:

    Quirks:
        first_sample_query: the answer to the batch's first sample is given to all; corrected: each its own.

`published` keeps all of them and is the released code number for number, `corrected` keeps none.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown

CORRECTED, PUBLISHED = "corrected", "published"
SECTION = r"^Quirks:\n((?:[ ]+.*\n?|\n)*)"
ENTRY = r"^ {4}(\w+): ((?:.*(?:\n {5,}.*)*))"


def quirks(method: type) -> dict[str, str]:
    """Name -> what the published code does and what is right instead.

    Read from the docstring of the class, or of the nearest that it derives from and that lists some.
    """
    documentation = (inspect.cleandoc(vars(c).get("__doc__") or "") for c in inspect.getmro(method))
    sections = (re.search(SECTION, text, flags=re.MULTILINE) for text in documentation)
    section = next(filter(None, sections), None)
    entries = re.findall(ENTRY, section[1], flags=re.MULTILINE) if section else []
    return {name: " ".join(text.split()) for name, text in entries}


def variants(method: type) -> dict[str, frozenset[str]]:
    """Variant -> the quirks that it keeps."""
    further: Mapping[str, Sequence[str]] = getattr(method, "variants", {})
    every = {CORRECTED: frozenset(), PUBLISHED: frozenset(quirks(method))}
    return every | {name: frozenset(kept) for name, kept in further.items()}


def kept_quirks(method: type, variant: str, without: Sequence[str]) -> frozenset[str]:
    """The quirks of a variant but those named in `without`.

    Raises:
        MtlbenchError: there is no such variant, or it has no such quirk.
    """
    known = variants(method)
    if variant not in known:
        raise MtlbenchError(unknown(f"`variant` of {method.__name__}", variant, list(known)))
    kept = known[variant]
    for name in without:
        if name not in kept:
            has = f"has {', '.join(sorted(kept))}" if kept else "has none"
            raise MtlbenchError(
                f"`without` must name quirks of the variant; `{variant}` of {method.__name__} {has}, "
                f"got {name!r}"
            )
    return kept.difference(without)

"""One name in several spellings: how papers, labels of grids and plugins call the same thing."""

from __future__ import annotations

import re

_SAME = {
    "single task": "single task baseline",
    "multi task": "multi task baseline",
    "multi task learning": "multi task baseline",
    "mtl": "multi task baseline",
    "stl": "single task baseline",
    "mtl full fine tuning": "full",
    "mtl tuning decoder only": "decoder",
    "decoder only": "decoder",
    "equal weights": "equal",
    "uncertainty weighting": "uncertainty",
}
"""Names, as `plain` spells them, and the one that stands for all of them."""


def plain(name: str) -> str:
    """Lower case, words parted by single spaces, without a paper's mark of its own rows: "(paper)"."""
    words = re.sub(r"\(paper\)", " ", name.lower())
    return " ".join(re.sub(r"[\s_\-\N{EN DASH}]+", " ", words).split())


def same_name(a: str, b: str) -> bool:
    """Whether two names mean the same method, backbone, balancer or tuning (`multi_task`, Multi-task)."""
    return standard(a) == standard(b)


def standard(name: str) -> str:
    """The spelling that all spellings of a name have in common."""
    spelt = plain(name)
    return _SAME.get(spelt, spelt)

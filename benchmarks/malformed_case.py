"""What one malformed grid is, and the kinds of them that there are."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        about: what is wrong.
        content: of `grid.yaml`; None: there is no such file.
        arguments: after the command.
        files: others that lie beside it.
        prepare: makes what is no plain file.
        command: of `mtlbench`.
        says: what the message must hold: the place of the mistake above all.
    """

    about: str
    content: bytes | None
    says: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ("grid.yaml",)
    files: Mapping[str, bytes] = field(default_factory=dict)
    command: str = "run"
    prepare: Callable[[Path], None] | None = None


Maker = Callable[[random.Random], Iterator[Case]]
KINDS: dict[str, Maker] = {}
"""Name of a kind -> its cases: without end where they are drawn, in a fixed number otherwise."""


def cases_of(kind: str) -> Callable[[Maker], Maker]:
    """Enter a generator of cases under a name."""

    def enter(maker: Maker) -> Maker:
        KINDS[kind] = maker
        return maker

    return enter

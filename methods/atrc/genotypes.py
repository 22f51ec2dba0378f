"""Genotypes: for each target task and each source task the kind of context.

On disk as published: {"data": {target: {source: kind}}, "step": n}, the kind a number from 0 (none) to 4
(`contexts.KINDS`). The published ones were found by the search stage of ATRC.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mtlbench.errors import MtlbenchError
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from .contexts import GLOBAL, KINDS, LOCAL, S_LABEL, T_LABEL

Genotype = dict[str, dict[str, int]]
DataSet = Literal["nyud", "pascal_context"]

TASKS: dict[DataSet, tuple[str, ...]] = {
    "nyud": ("semseg", "depth", "normals", "edge"),
    "pascal_context": ("semseg", "human_parts", "sal", "normals", "edge"),
}
PUBLISHED: dict[str, tuple[DataSet, int, tuple[str, ...]]] = {
    "nyud-hrnet18": ("nyud", 270, ("3344", "4344", "4334", "3313")),
    "nyud-hrnet48": ("nyud", 720, ("3004", "4114", "4114", "3333")),
    "pascal-hrnet18": ("pascal_context", 270, ("33404", "33434", "33343", "33334", "33313")),
}
"""Name -> data set, channels of the backbone's four maps, kinds: a row per target, in `TASKS`' order."""

UNIFORM = {"global": GLOBAL, "local": LOCAL, "t-label": T_LABEL, "s-label": S_LABEL}
AUTO = "auto"
NAMES = (AUTO, *PUBLISHED, *UNIFORM)


def likely_data_set(tasks: Tasks) -> DataSet:
    """Whose numbers suit these tasks: PASCAL-Context's if one of them, or 21 classes, is only there."""
    only_there = set(TASKS["pascal_context"]) - set(TASKS["nyud"])
    classes = {len(task.classes) for task in tasks.values()}
    return "pascal_context" if only_there & set(tasks) or 21 in classes else "nyud"


def resolve(genotype: str | Mapping[str, Mapping[str, int | str]], tasks: Tasks, width: int) -> Genotype:
    """The genotype of these tasks, from a name, a file, or itself.

    Args:
        genotype: one of `NAMES`, a JSON file (as published, or a result that holds one), or kinds.
        tasks: the genotype is restricted to these, in their order.
        width: channels of the backbone's four maps together.

    Raises:
        MtlbenchError: no such name or file, or a pair of tasks is missing or of an unknown kind.
    """
    if not isinstance(genotype, str):
        return _restrict(genotype, list(tasks), origin="`genotype` of atrc")
    if genotype == AUTO:
        return _nearest_published(tasks, width)
    if genotype in UNIFORM:
        return {target: dict.fromkeys(tasks, UNIFORM[genotype]) for target in tasks}
    if genotype in PUBLISHED:
        return _restrict(published(genotype), list(tasks), origin=f"genotype `{genotype}` of atrc")
    return _restrict(_read(genotype), list(tasks), origin=f"genotype of atrc in {genotype}")


def published(name: str) -> Genotype:
    """A published genotype by its name."""
    data_set, _, rows = PUBLISHED[name]
    names = TASKS[data_set]
    return {
        target: {source: int(kind) for source, kind in zip(names, row, strict=True)}
        for target, row in zip(names, rows, strict=True)
    }


def _nearest_published(tasks: Tasks, width: int) -> Genotype:
    """That of the likely data set and the backbone nearest in width; t-label for pairs that it lacks."""
    data_set = likely_data_set(tasks)
    candidates = {name: abs(w - width) for name, (d, w, _) in PUBLISHED.items() if d == data_set}
    known = published(min(candidates, key=candidates.__getitem__))
    return {t: {s: known.get(t, {}).get(s, T_LABEL) for s in tasks} for t in tasks}


def _read(path: str) -> Any:
    """The kinds in a JSON file: of a published genotype, or of a finished search's result."""
    if not Path(path).is_file():
        hint = unknown("`genotype` of atrc", path, NAMES)
        raise MtlbenchError(f"{hint} (nor is it a JSON file: a genotype, or a result of `atrc_search`)")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise MtlbenchError(f"`genotype` of atrc: {path} is not JSON: {error}") from error
    data = _at(_at(_at(content, "findings"), "genotype") or content, "data")
    if not isinstance(data, dict):
        raise MtlbenchError(
            f'`genotype` of atrc: {path} must hold {{"data": {{target: {{source: kind}}}}}}, or be the '
            "result of a finished `atrc_search`"
        )
    return data


def _at(content: object, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _restrict(genotype: Mapping[str, Any], tasks: Sequence[str], *, origin: str) -> Genotype:
    """The pairs of these tasks, kinds as numbers; all problems are reported together."""
    problems, restricted = [], {}
    for target in tasks:
        row = genotype.get(target)
        if not isinstance(row, Mapping):
            problems.append(f"no target `{target}`")
            continue
        kinds = {source: _kind(row.get(source)) for source in tasks}
        problems += [_problem(target, s, row.get(s)) for s, kind in kinds.items() if kind is None]
        restricted[target] = {source: kind for source, kind in kinds.items() if kind is not None}
    if problems:
        raise MtlbenchError(f"{origin}: {'; '.join(problems)}")
    return restricted


def _kind(given: object) -> int | None:
    """The number of a kind given by number or name, or None."""
    if isinstance(given, str):
        return KINDS.get(given)
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return next((kind for kind in KINDS.values() if is_number and given == kind), None)


def _problem(target: str, source: str, given: object) -> str:
    if given is None:
        return f"target `{target}` has no source `{source}`"
    kinds = ", ".join(f"{number} ({name})" for name, number in KINDS.items())
    return f"target `{target}`, source `{source}`: kind {given!r} must be one of {kinds}"

"""What a grid file holds, with the files that it includes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlbench.errors import MtlbenchError
from mtlbench.options import shown
from mtlbench.strict_yaml import read_yaml

INCLUDE = "include"
MAX_FILES = 100


def read_mapping(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        MtlbenchError: it can't be read, or holds something else.
    """
    raw = read_yaml(file)
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else "a list" if isinstance(raw, list) else shown(raw)
        raise MtlbenchError(f"{file} must hold a mapping of grid keys, found {found}")
    return raw


def read_grid(file: Path, *, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping of a grid file over those of the files that it includes, later files over earlier ones.

    The grid's own keys win; mappings are merged key by key (`merge`), plugin files of all are used. A `name`
    is not included: two grids of one name would share their reports.

    Args:
        file: of the grid.
        within: the files that include it, outermost first.

    Raises:
        MtlbenchError: one of the files can't be read, is no mapping, or includes itself.
    """
    if any(file.samefile(outer) for outer in within if file.exists()):
        chain = " includes ".join(str(path) for path in (*within, file))
        raise MtlbenchError(f"{within[0]}: include: files must not include themselves, got {chain}")
    if len(within) > MAX_FILES:
        raise MtlbenchError(f"{within[0]}: include: at most {MAX_FILES} files may include one another")
    raw = read_mapping(file)
    included: dict[str, Any] = {}
    for path in _included(raw.pop(INCLUDE, []), file):
        part = read_grid(path, within=(*within, file))
        part.pop("name", None)
        included = merge(included, _with_plugins_beside(part, path))
    return merge(included, raw)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, `above` where both have a key, at any depth.

    Entries that name different plugins are not mixed: options of one are none of the other. Lists are
    replaced as a whole, but `plugins` are added up.
    """
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        one, other = below[key], above[key]
        if isinstance(one, dict) and isinstance(other, dict):
            same = one.get("name", other.get("name")) == other.get("name", one.get("name"))
            merged[key] = merge(one, other) if same else other
        elif key == "plugins" and isinstance(one, list) and isinstance(other, list):
            merged[key] = [*one, *other]
    return merged


def _included(value: Any, file: Path) -> list[Path]:
    """Paths are relative to the file that names them."""
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise MtlbenchError(f"{file}: include: must be one or several files, got {shown(value)}")
    paths = [file.parent / name for name in names]
    for path, name in zip(paths, names, strict=True):
        if not path.is_file():
            raise MtlbenchError(f"{file}: include: file not found: {name} (looked for {path})")
    return paths


def _with_plugins_beside(raw: dict[str, Any], file: Path) -> dict[str, Any]:
    """Plugin files that lie beside an included file are named such that they are found from anywhere."""
    plugins = raw.get("plugins")
    if not isinstance(plugins, list):
        return raw
    found = [
        str((file.parent / name).resolve())
        if isinstance(name, str) and (file.parent / name).is_file()
        else name
        for name in plugins
    ]
    return raw | {"plugins": found}

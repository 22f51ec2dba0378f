"""YAML without its traps, as grid files are written in it.

The values of JSON, in YAML's notation, with anchors and merge keys. What YAML lets pass and what would make a
grid say something other than its author meant is refused: a key given twice, a key that is no text, tags,
numbers in octal or sexagesimal notation. `yes`, `no`, `on`, `off` and dates are text, `1e-4` is a number.
Files that would grow out of all bounds (anchors within anchors, deep nesting) are refused before they do.
"""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mtlbench.errors import MtlbenchError

MAX_BYTES = 2**20
MAX_VALUES = 50_000
MAX_DEPTH = 30
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FOREIGN = re.compile(r"[-+]?(0[0-9_]+|0[bBoOxX][0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""What YAML 1.1 reads as numbers in octal, binary, hexadecimal or sexagesimal notation."""


def read_yaml(file: Path) -> Any:
    """The value that a file holds.

    Raises:
        MtlbenchError: it can't be read, is no YAML, or does what this module refuses.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise MtlbenchError(f"{file} must be a regular file, it is {_kind(file)}")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise MtlbenchError(f"{file} can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise MtlbenchError(f"{file} must be at most {MAX_BYTES} bytes, it is larger")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} in line {content[: error.start].count(10) + 1}"
        raise MtlbenchError(f"{file} is not YAML: it must be UTF-8 text, found {found}") from error
    return parse_yaml(text, str(file))


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text; `origin` says in messages where it stands.

    Raises:
        MtlbenchError: it is no YAML, or does what this module refuses.
    """
    try:
        _check_events(text, origin)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise MtlbenchError(f"{origin} is not YAML: {_in_one_line(error, text)}") from error
    return None if node is None else _Reader(origin).value(node, "")


def _check_events(text: str, origin: str) -> None:
    """What must be found before anything is built: composing nested nodes is recursive."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_LOADER):
        where = f"{origin}, line {event.start_mark.line + 1 if event.start_mark else '?'}"
        starts = isinstance(event, yaml.CollectionStartEvent)
        depth += starts - isinstance(event, yaml.CollectionEndEvent)
        values += starts or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent)
        if depth > MAX_DEPTH:
            raise MtlbenchError(f"{where}: lists and mappings must be nested at most {MAX_DEPTH} deep")
        if values > MAX_VALUES:
            raise MtlbenchError(f"{where}: there must be at most {MAX_VALUES} values in it")
        if (tag := getattr(event, "tag", None)) is not None:
            tag = shown_text(tag.replace("tag:yaml.org,2002:", "!!"))
            raise MtlbenchError(f"{where}: tags are not used here, found `{tag}`")


class _Reader:
    """Makes values from nodes, and remembers where it is."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.count = 0
        self.within: list[yaml.Node] = []

    def value(self, node: yaml.Node, key: str) -> Any:
        self._check_growth(node, key)
        self.within.append(node)
        made: Any
        if isinstance(node, yaml.MappingNode):
            made = self._mapping(node, key)
        elif isinstance(node, yaml.SequenceNode):
            made = [self.value(child, f"{key}[{i}]") for i, child in enumerate(node.value)]
        else:
            assert isinstance(node, yaml.ScalarNode)
            made = self._scalar(node, key)
        self.within.pop()
        return made

    def _check_growth(self, node: yaml.Node, key: str) -> None:
        self.count += 1
        if node in self.within:
            self._refuse(node, key, "an anchor must not contain itself")
        if self.count > MAX_VALUES:
            self._refuse(node, key, f"with its anchors, the file has more than {MAX_VALUES} values")

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        """Keys of merged mappings (`<<`) give way to the mapping's own."""
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name_node, child in node.value:
            name = self._name(name_node, key)
            if name == "<<" and not name_node.style:
                merged = self._merged(child, key) | merged
            elif name in own:
                self._refuse(name_node, key, f"key `{shown_text(name)}` is given twice")
            else:
                own[name] = self.value(child, f"{key}.{shown_text(name)}".lstrip("."))
        return merged | own

    def _merged(self, node: yaml.Node, key: str) -> dict[str, Any]:
        """What stands behind `<<`: a mapping, or a list of them of which earlier ones count first."""
        value = self.value(node, key)
        merged: dict[str, Any] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                self._refuse(node, key, "`<<` must be given a mapping, or a list of mappings")
            merged = part | merged
        return merged

    def _name(self, node: yaml.Node, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            found = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            self._refuse(node, key, f"keys must be text, found {found}")
        name = self._scalar(node, key)
        if not isinstance(name, str):
            self._refuse(
                node, key, f"keys must be text, found `{shown_text(node.value)}`; quote it if it is text"
            )
        return name

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        text = node.value
        if node.style:  # quoted
            return text
        if _NULL.fullmatch(text):
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _WHOLE.fullmatch(text) and abs(int(text)) < 2**63:
            return int(text)
        if _FOREIGN.fullmatch(text):
            self._refuse(
                node, key, f"numbers must be decimal, got {shown_text(text)}; quote it if it is text"
            )
        if match := _ENDLESS.fullmatch(text):
            return math.nan if match[3] else float(f"{match[1]}inf")
        if _DECIMAL.fullmatch(text):
            if re.fullmatch(r"[-+]?[0-9]+", text) or math.isinf(float(text)):
                self._refuse(node, key, f"the number is too large: {shown_text(text)}")
            return float(text)
        return text

    def _refuse(self, node: yaml.Node, key: str, message: str) -> NoReturn:
        place = f"{key}: " if key else ""
        raise MtlbenchError(f"{self.origin}, line {node.start_mark.line + 1}: {place}{message}")


def _kind(file: Path) -> str:
    return "a folder" if file.is_dir() else "a device, a pipe or a socket"


def shown_text(text: str, most: int = 60) -> str:
    """A text as messages name it, shortened."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def _in_one_line(error: yaml.YAMLError, text: str) -> str:
    """What the parser says, without the excerpt of the text."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        return f"control characters are not allowed, found {text[error.position]!r} in line {line}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return shown_text(" ".join(str(error).split()), 200)
    mark = error.problem_mark or error.context_mark
    parts = [part for part in (error.context, error.problem, error.note) if part]
    if mark is None:
        return shown_text(", ".join(parts), 200)
    character = text[mark.index : mark.index + 1]
    if character == "\t":
        parts = ["lines must be indented with spaces, found a tab"]
    elif "cannot start any token" in parts[-1]:
        parts = [f"text that begins with {character} must be quoted"]
    return f"{shown_text(', '.join(parts), 200)} (line {mark.line + 1}, column {mark.column + 1})"

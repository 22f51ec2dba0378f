"""Mistakes in how a grid file is written, in what it names, and in what the command line says of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from malformed_case import Case, cases_of
from malformed_values import SMALL, with_value, without_key

TEXT = yaml.safe_dump(SMALL, sort_keys=False)


def _beside(key: str, text: str) -> bytes:
    """The small grid with `key` written in this way."""
    content = {name: value for name, value in SMALL.items() if name != key}
    return (yaml.safe_dump(content, sort_keys=False) + text + "\n").encode()


def _bomb(levels: int, width: int) -> str:
    grown = (f"x{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels))
    return "\n".join(["tasks: &l0 [semseg, depth]", *grown])


@cases_of("notation")
def notation(draw: random.Random) -> Iterator[Case]:
    """YAML that is none, or that means something else than it seems to."""
    merges = "recipe: {" + ", ".join(
        f"x{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 9)
    )
    written: list[tuple[str, bytes, tuple[str, ...]]] = [
        ("unclosed list", _beside("tasks", "tasks: [semseg, depth"), ("is not YAML", "line")),
        ("unclosed quote", _beside("tasks", 'tasks: ["semseg]'), ("is not YAML", "line")),
        ("indented with a tab", _beside("recipe", "recipe:\n\titerations: 4"), ("tab", "line")),
        ("no indentation", _beside("recipe", "recipe:\niterations: 4"), ("iterations", "unknown key")),
        ("undefined alias", _beside("tasks", "tasks: *all"), ("undefined alias", "line")),
        ("two documents", (TEXT + "---\n" + TEXT).encode(), ("single document", "line")),
        ("a reserved character", _beside("tasks", "tasks: @all"), ("is not YAML", "line")),
        ("a directive of the future", b"%YAML 9.9\n---\n" + TEXT.encode(), ("is not YAML",)),
        ("key twice at the top", (TEXT + "seed: 3\n").encode(), ("key `seed` is given twice", "line")),
        (
            "key twice in the recipe",
            _beside("recipe", "recipe: {lr: 1, lr: 2}"),
            ("recipe", "`lr` is given twice"),
        ),
        ("key twice in a list", _beside("method", "method: [{name: a, name: b}]"), ("method[0]", "twice")),
        ("an anchor in itself", _beside("tasks", "tasks: &a [semseg, *a]"), ("tasks[1]", "itself")),
        ("a mapping in itself", _beside("recipe", "recipe: &a {iterations: *a}"), ("recipe", "itself")),
        ("billion laughs", _beside("tasks", _bomb(12, 10)), ("anchors", "50000 values")),
        ("billion merged keys", _beside("recipe", f"x0: &m0 {{a: 1}}\n{merges}}}"), ("50000 values",)),
        ("merge of a number", _beside("recipe", "recipe: {<<: 3}"), ("recipe", "`<<`")),
        ("python object", _beside("seed", "seed: !!python/object/apply:os.getpid []"), ("tags", "line")),
        ("python name", _beside("name", "name: !!python/name:os.system"), ("tags", "line")),
        ("tag of a set", _beside("tasks", "tasks: !!set {semseg, depth}"), ("tags", "line")),
        ("tag of one's own", _beside("tasks", "tasks: !all [semseg]"), ("tags", "`!all`")),
        ("binary tag", _beside("name", "name: !!binary aGk="), ("tags", "line")),
        ("octal number", _beside("seed", "seed: 010"), ("seed", "decimal", "010")),
        (
            "sexagesimal number",
            _beside("recipe", "recipe: {iterations: 1:30}"),
            ("recipe.iterations", "decimal"),
        ),
        ("hexadecimal number", _beside("seed", "seed: 0x1F"), ("seed", "decimal")),
        ("binary number", _beside("seed", "seed: 0b11"), ("seed", "decimal")),
        (
            "`yes` for a number",
            _beside("recipe", "recipe: {iterations: yes}"),
            ("recipe.iterations", "'yes'"),
        ),
        ("`on` for a method", _beside("method", "method: on"), ("method", "`on`")),
        ("`no` for a list", _beside("tasks", "tasks: no"), ("tasks", "'no'")),
        ("a date for a number", _beside("seed", "seed: 2024-01-01"), ("seed", "2024-01-01")),
        ("a key that is a number", _beside("recipe", "recipe: {1: 2}"), ("recipe", "keys must be text")),
        ("a key that is null", _beside("recipe", "recipe: {~: 2}"), ("recipe", "keys must be text")),
        ("a key that is true", _beside("recipe", "true: 2"), ("keys must be text",)),
        ("a key that is a list", _beside("recipe", "recipe: {[lr, x]: 2}"), ("recipe", "keys must be text")),
        ("a key without a value", _beside("method", "method:"), ("method", "names no method")),
        ("nested 100 000 deep", _beside("tasks", "tasks: " + "[" * 100_000), ("nested",)),
        ("nested 100 000 deep in blocks", ("- " * 100_000).encode(), ("nested",)),
        ("100 000 entries", _beside("seed", f"seed: {list(range(100_000))}"), ("50000 values", "line")),
        ("a number of 10 000 digits", _beside("seed", "seed: " + "9" * 10_000), ("seed", "too large")),
        ("a number beyond all floats", _beside("recipe", "recipe: {lr: 1e999}"), ("recipe.lr", "too large")),
    ]
    yield from (Case(about, content, says) for about, content, says in written)


@cases_of("content of the file")
def contents(draw: random.Random) -> Iterator[Case]:
    """Files that are no text, or hold no grid."""
    noise = bytes(draw.randrange(256) for _ in range(2000))
    written: list[tuple[str, bytes, tuple[str, ...]]] = [
        ("empty", b"", ("mapping", "grid.yaml")),
        ("comments only", b"# nothing\n# here\n", ("mapping",)),
        ("a list at the top", b"- name: x\n- dataset: rooms\n", ("mapping", "list")),
        ("a word", b"quickstart\n", ("mapping", "'quickstart'")),
        ("a number", b"42\n", ("mapping", "42")),
        ("an empty mapping", b"{}\n", ("dataset: this key is required", "backbone", "method")),
        ("a NUL byte", TEXT.replace("small", "sm\0all").encode(), ("is not YAML",)),
        ("another control character", TEXT.replace("small", "sm\x07all").encode(), ("is not YAML",)),
        ("latin-1", TEXT.replace("small", "klein-für-ä").encode("latin-1"), ("UTF-8", "line 1")),
        ("UTF-16", TEXT.encode("utf-16"), ("UTF-8", "line 1")),
        ("a byte order mark inside", (TEXT + "\ufefftuning: full\n").encode(), ("is not YAML", "line")),
        ("random bytes", b"\xff" + noise, ("UTF-8",)),
        ("a picture", b"\x89PNG\r\n\x1a\n" + noise, ("UTF-8",)),
        ("a zip archive", b"PK\x03\x04" + b"\0" * 100, ("is not YAML",)),
        ("2 MB", (TEXT + "# " + "x" * 2**21).encode(), ("at most 1048576 bytes",)),
        ("a Python file", b"import os\nprint(os.environ)\n", ("mapping",)),
        ("JSON with a comma too many", b'{"dataset": "rooms",, "seed": 0}', ("is not YAML",)),
        ("HTML", b"<!doctype html>\n<html><body>404: not found</body></html>\n", ("is not YAML",)),
    ]
    yield from (Case(about, content, says) for about, content, says in written)


@cases_of("missing key")
def missing(draw: random.Random) -> Iterator[Case]:
    """What can't be left out."""
    for key in ("dataset", "backbone", "method"):
        yield Case(key, without_key((key,)), says=(f"{key}: this key is required",))
    yield Case("name of a method", without_key(("method", 1, "name")), says=("method[1]", "`name`"))
    yield Case("name of a data set", without_key(("dataset", "name")), says=("dataset", "`name`"))
    yield Case("name of a balancer", without_key(("balancer", 1, "name")), says=("balancer[1]", "`name`"))
    protocol = {"name": "task_addition", "base": ["semseg"]}
    yield Case("option of a protocol", with_value(("protocol",), protocol), says=("protocol.add", "needs"))


@cases_of("path that is no file")
def paths(draw: random.Random) -> Iterator[Case]:
    """What stands where the grid file is expected."""

    def case(about: str, make: Any, says: str, argument: str = "grid.yaml") -> Case:
        return Case(about, None, (says,), (argument,), prepare=make)

    yield case("nothing", None, "not found: grid.yaml")
    yield case("a name nearly right", None, "did you mean `quickstart`", "quickstrat")
    yield case("a folder", lambda place: (place / "grid.yaml").mkdir(), "a folder")
    yield case("a pipe", lambda place: os.mkfifo(place / "grid.yaml"), "regular file")
    yield case("a link to nothing", lambda place: _link(place, "gone.yaml"), "not found")
    yield case("a link to itself", lambda place: _link(place, "grid.yaml"), "grid.yaml")
    yield case("an endless device", lambda place: _link(place, "/dev/zero"), "regular file")
    yield case("a file that can't be read", lambda place: _link(place, "/proc/self/mem"), "can't be read")
    yield case("a path of 5000 characters", None, "not found", "x" * 5000)
    yield case("an empty path", None, "", "")
    yield case("a path outside", None, "not found", "../../../../quickstart")


def _link(place: Path, target: str) -> None:
    (place / "grid.yaml").symlink_to(target)


@cases_of("plugin")
def plugins(draw: random.Random) -> Iterator[Case]:
    """Plugin files that are missing, break, or hold something else."""
    derived = "from mtlbench.model import Method\nclass X(Method):\n    def __init__(self, b, t, *, {}): {}\n"
    texts: list[tuple[str, str, tuple[str, ...]]] = [
        ("a syntax error", "def f(:\n", ("SyntaxError",)),
        ("raises when imported", "1 / 0\n", ("ZeroDivisionError",)),
        ("ends the process", "import sys\nsys.exit(0)\n", ("SystemExit",)),
        ("imports what is missing", "import no_such_package\n", ("no_such_package",)),
        ("no mapping `plugins`", "x = 1\n", ("must hold a mapping `plugins`",)),
        ("a list of plugins", "plugins = []\n", ("must hold a mapping `plugins`",)),
        ("an unknown family", "plugins = {'metod': {}}\n", ("unknown plugin family `metod`",)),
        ("a family that is no mapping", "plugins = {'method': 3}\n", ("`method` must map names",)),
        ("a plugin that is a number", "plugins = {'method': {'x': 3}}\n", ("method `x`",)),
        (
            "a class that is no method",
            "class X: pass\nplugins = {'method': {'x': X}}\n",
            ("method", "derived from"),
        ),
        (
            "a function for a method",
            "def x(*, a=1): pass\nplugins = {'method': {'x': x}}\n",
            ("derived from",),
        ),
        ("a class that is not there", "plugins = {'method': {'x': 'os:Nothing'}}\n", ("method", "Nothing")),
        ("a module that is not there", "plugins = {'method': {'x': 'nowhere:X'}}\n", ("method", "nowhere")),
        (
            "an annotation that is unknown",
            "from __future__ import annotations\n"
            + derived.format("a: Unknown = 1", "super().__init__(b, t)")
            + "plugins = {'method': {'x': X}}\n",
            ("method", "Unknown"),
        ),
        (
            "a type that can't be checked",
            "class Y: pass\n"
            + derived.format("a: Y = None", "super().__init__(b, t)")
            + "plugins = {'method': {'x': X}}\n",
            ("method", "Y"),
        ),
        (
            "a constructor that raises",
            derived.format("a: int = 1", "raise KeyError('lost')") + "plugins = {'method': {'x': X}}\n",
            ("x", "lost"),
        ),
        ("a name that is taken", "plugins = {'method': {'x': 'a:b', 'degmix': 'a:b'}}\n", ("offered twice",)),
        ("latin-1 bytes", "x = 'für'\n", ("mine.py",)),
    ]
    for about, text, says in texts:
        grid = {
            **SMALL,
            "plugins": ["mine.py"],
            "method": ["degmix" if "taken" in about else "x"],
            "exclude": [],
        }
        content = text.encode("latin-1" if "latin" in about else "utf-8")
        yield Case(about, yaml.safe_dump(grid).encode(), says, files={"mine.py": content})
    for name, says in (
        ("gone.py", "plugin file not found: gone.py"),
        (".", "plugin file"),
        ("a.txt", "Python file"),
    ):
        files = {"a.txt": b"x"}
        yield Case(f"a plugin file {name}", with_value(("plugins",), [name]), (says,), files=files)
    yield Case("--plugins gone.py", TEXT.encode(), ("gone.py",), ("grid.yaml", "--plugins", "gone.py"))

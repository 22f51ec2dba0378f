"""Families of plugins: who offers what, found without importing any of it.

A provider is an entry point of the group `mtlbench.plugins`, or one Python file. Either holds a mapping named
`plugins`:

    plugins = {"method": {"my_net": "my_package.net:MyNet"}, "balancer": {"mine": Mine}}

A target is a class (or another callable), or a string "module:attribute" that is imported when the plugin
is first used. A name with a `*` stands for all names that match it: its target takes the name and returns
the plugin, or None; where it is a pair of targets, the second returns the names there are, with a summary
each. The built-in plugins come through the same door. A plugin's options are the keyword-only arguments of
its constructor.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mtlbench.errors import MtlbenchError

GROUP = "mtlbench.plugins"
FAMILIES = ("method", "balancer", "backbone", "dataset", "tuning", "protocol", "report")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Option:
    """One option of a plugin: a keyword-only argument of its constructor."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Plugin:
    """One named plugin; nothing of it is imported before `load`."""

    family: str
    name: str
    target: str | Callable[..., Any]
    origin: str
    names: str | None = None
    """Of a pattern: "module:attribute" of what returns its names, each with a summary."""
    about: str | None = None
    """The summary, where that isn't read from a docstring."""

    def load(self) -> Any:
        """The class or callable behind the name.

        Raises:
            MtlbenchError: its module can't be imported, or lacks the attribute.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise MtlbenchError(f"{self._who} can't be loaded from `{self.target}`: {error}") from error
        except Exception as error:  # whatever a third party's module does when it is imported
            found = f"{type(error).__name__}: {error}"
            raise MtlbenchError(f"{self._who} can't be loaded from `{self.target}`: {found}") from error

    @property
    def _who(self) -> str:
        return f"{self.family} `{self.name}` (from {self.origin})"

    def options(self) -> dict[str, Option]:
        """The options by name, read from the constructor's signature (imports the plugin).

        A constructor with `**rest` hands them on: the options of the class that it inherits from are its own.
        Every method has `weights` besides: a file with the weights of a whole network.

        Raises:
            MtlbenchError: it can't be loaded, or has no signature that can be read.
        """
        try:
            return self._options(self.load())
        except (TypeError, ValueError, NameError, AttributeError, SyntaxError) as error:
            found = f"{type(error).__name__}: {error}"
            raise MtlbenchError(f"the options of {self._who} can't be read: {found}") from error

    def _options(self, target: Any) -> dict[str, Option]:
        makers = (
            [c for c in inspect.getmro(target) if "__init__" in vars(c)] if inspect.isclass(target) else []
        )
        found: dict[str, Option] = {}
        for maker in [target, *makers[1:]]:
            parameters = inspect.signature(maker, eval_str=True).parameters.values()
            for p in parameters:
                if p.kind is inspect.Parameter.KEYWORD_ONLY:
                    found.setdefault(p.name, Option(p.name, p.annotation, p.default))
            if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
        return found | (METHOD_OPTIONS if self.family == "method" else {})

    @cached_property
    def summary(self) -> str:
        """The first sentence of the plugin's docstring; a string target is read, not run."""
        if self.about is not None:
            return self.about
        doc = (
            _docstring_in_source(self.target) if isinstance(self.target, str) else inspect.getdoc(self.target)
        )
        return (doc or "").strip().split("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")

    @cached_property
    def source(self) -> str:
        """The class's `paper` and `code`, where it says them; a string target is read, not run."""
        if self.about is not None:
            return ""
        said = (
            _texts_in_source(self.target)
            if isinstance(self.target, str)
            else {name: getattr(self.target, name, "") for name in SOURCE}
        )
        return "; ".join(said[name] for name in SOURCE if said.get(name))


SOURCE = ("paper", "code")
"""Attributes of a class that say what it is after."""
METHOD_OPTIONS = {"weights": Option("weights", str, "none")}
"""What the harness itself takes beside a method's own options."""


class Registry:
    """All plugins of all families."""

    def __init__(self) -> None:
        self._plugins: dict[str, dict[str, list[Plugin]]] | None = None
        self.files: tuple[str, ...] = ()

    def names(self, family: str) -> list[str]:
        """Names of a family, sorted, without patterns; imports nothing."""
        return sorted(name for name in self._family(family) if "*" not in name)

    def plugins(self, family: str) -> list[Plugin]:
        return [self.get(family, name) for name in self.names(family)]

    def offered(self, family: str) -> list[Plugin]:
        """All plugins, and those that patterns stand for where these tell; to be listed, not loaded."""
        patterns = [p for n, plugins in self._family(family).items() if "*" in n for p in plugins if p.names]
        found = [
            replace(pattern, name=name, about=about)
            for pattern in patterns
            for name, about in replace(pattern, target=str(pattern.names)).load()().items()
        ]
        return self.plugins(family) + found

    def get(self, family: str, name: str) -> Plugin:
        """The plugin called `name`.

        Raises:
            MtlbenchError: there is none (the nearest names are given), or two providers offer it.
        """
        found = self._family(family).get(name, []) or self._matching(family, name)
        if not found:
            offered = [p.name for p in self.offered(family) if "*" not in p.name and ":" in p.name]
            raise MtlbenchError(unknown(family, name, offered if ":" in name else self.names(family)))
        if len(found) > 1:
            origins = " and ".join(plugin.origin for plugin in found)
            raise MtlbenchError(f"{family} `{name}` is offered twice, by {origins}: rename or remove one")
        return found[0]

    def load(self, family: str, name: str) -> Any:
        return self.get(family, name).load()

    def _matching(self, family: str, name: str) -> list[Plugin]:
        """What the patterns of a family make of a name that is not in its table."""
        patterns = [
            p for n, plugins in self._family(family).items() if "*" in n and fnmatch(name, n) for p in plugins
        ]
        made = [(pattern, pattern.load()(name)) for pattern in patterns]
        return [
            Plugin(family, name, target, pattern.origin) for pattern, target in made if target is not None
        ]

    def add_file(self, path: str | Path) -> None:
        """Take in the plugins of one Python file, which must hold a mapping `plugins`.

        Raises:
            MtlbenchError: no such file, it can't be imported, or it holds no such mapping.
        """
        file = Path(path).resolve()
        if str(file) in self.files:
            return
        if not file.is_file():
            raise MtlbenchError(f"plugin file not found: {path}")
        module_name = f"mtlbench_plugin_{file.stem}"
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise MtlbenchError(f"plugin file must be a Python file, got {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise MtlbenchError(
                f"plugin file {path} can't be imported: {type(error).__name__}: {error}"
            ) from error
        table = getattr(module, "plugins", None)
        if not isinstance(table, Mapping):
            raise MtlbenchError(
                f"plugin file {path} must hold a mapping `plugins`, e.g. {{'method': {{'my_net': MyNet}}}}"
            )
        self._add(self._discovered(), table, origin=str(path))
        self.files = (*self.files, str(file))

    def _family(self, family: str) -> dict[str, list[Plugin]]:
        if family not in FAMILIES:
            raise MtlbenchError(unknown("plugin family", family, FAMILIES))
        return self._discovered()[family]

    def _discovered(self) -> dict[str, dict[str, list[Plugin]]]:
        if self._plugins is None:
            self._plugins = {family: {} for family in FAMILIES}
            for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
                origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.name
                try:
                    self._add(self._plugins, point.load(), origin)
                except Exception as error:  # a broken third-party package must not take the others down
                    log.warning("plugins of %s are left out: %s: %s", origin, type(error).__name__, error)
        return self._plugins

    @staticmethod
    def _add(
        plugins: dict[str, dict[str, list[Plugin]]], table: Mapping[str, Mapping[str, Any]], origin: str
    ) -> None:
        for family, targets in table.items():
            if family not in FAMILIES:
                raise MtlbenchError(
                    f"{unknown('plugin family', str(family), FAMILIES)} (offered by {origin})"
                )
            if not isinstance(targets, Mapping):
                raise MtlbenchError(f"plugins of {origin}: `{family}` must map names to classes")
            for name, target in targets.items():
                target, names = target if isinstance(target, tuple) else (target, None)
                if not isinstance(name, str) or not (callable(target) or isinstance(target, str)):
                    raise MtlbenchError(
                        f"plugins of {origin}: {family} `{name}` must be a class, or the text `module:class`"
                    )
                plugins[family].setdefault(name, []).append(Plugin(family, name, target, origin, names))


def unknown(what: str, name: str, valid: list[str] | tuple[str, ...]) -> str:
    """The message for a name that doesn't exist: nearest valid names first, else all of them."""
    name = name if len(name) <= 80 else f"{name[:80]}..."
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.6)
    hint = (
        f"did you mean {' or '.join(f'`{n}`' for n in near)}?"
        if near
        else f"valid: {', '.join(valid) or 'none'}"
    )
    return f"unknown {what} `{name}`: {hint}"


def _docstring_in_source(target: str) -> str | None:
    """The docstring of "module:attribute", found by parsing the module's file."""
    tree, node = _in_source(target)
    return (ast.get_docstring(node) if node else None) or (ast.get_docstring(tree) if tree else None)


def _texts_in_source(target: str) -> dict[str, str]:
    """Names that the class "module:attribute" sets to plain strings itself, not those that it inherits."""
    _, node = _in_source(target)
    found = {}
    for statement in node.body if isinstance(node, ast.ClassDef) else ():
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text)))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text)))
            ):
                found[name] = text
    return found


def _in_source(target: str) -> tuple[ast.Module | None, ast.ClassDef | ast.FunctionDef | None]:
    """The parsed file of "module:attribute", and the attribute in it; None where there is none."""
    module, _, attribute = target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None, None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None, None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    defined = (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return tree, next((node for node in defined if node.name == attribute), None)


registry = Registry()

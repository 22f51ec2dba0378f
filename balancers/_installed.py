"""What an installed library offers, read from its files without importing it."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mtlbench.errors import MtlbenchError


@dataclass(frozen=True)
class Library:
    """A library whose balancers can be used when it is installed.

    Attributes:
        prefix: of the balancers' names.
        package: what it is imported as.
        title: what it calls itself.
        requirement: for pip.
    """

    prefix: str
    package: str
    title: str
    requirement: str

    def folder(self) -> Path | None:
        """Where it is installed, if it is."""
        spec = find_spec(self.package)
        places = list(spec.submodule_search_locations or []) if spec else []
        return Path(places[0]) if places else None

    def require(self, balancer: str) -> Path:
        """Where it is installed.

        Raises:
            MtlbenchError: it isn't.
        """
        folder = self.folder()
        if folder is None:
            raise MtlbenchError(
                f"balancer `{balancer}` needs the library {self.title}: pip install {self.requirement}"
            )
        return folder

    def hint(self) -> dict[str, str]:
        """What is listed when it isn't installed."""
        return {f"{self.prefix}:*": f"Balancers of {self.title}; needs pip install {self.requirement}"}


@cache
def summaries(package: Path) -> dict[str, str]:
    """Names that a package's `__init__.py` exports, with the first clause of each class's docstring.

    Read once a process: not to be changed by who gets it.
    """
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    exported: list[str] = []
    sources: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            sources |= {alias.name: node.module.split(".")[-1] for alias in node.names}
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            exported = ast.literal_eval(node.value)
    return {name: _summary(package / f"{sources[name]}.py", name) for name in exported if name in sources}


def _summary(file: Path, name: str) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    text = " ".join((ast.get_docstring(found[0]) or "").split("\n\n")[0].split()) if found else ""
    text = re.sub(r":\w+:`[^`<]*<[^>]*>`", "", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([^`]+)`", r"\1", text)  # :class:`~package.Name`
    text = re.sub(r"`([^`<]+?)\s*<[^>]*>`_", r"\1", text)  # `title <address>`_
    text = re.sub(r"\[[A-Z]\w*\] ?", "", text)
    return re.split(r"\. |, | where ", text)[0].strip().rstrip(".:")

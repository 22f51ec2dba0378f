"""Where a result comes from: code, versions, hardware."""

from __future__ import annotations

import ast
import hashlib
import inspect
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

CORE = (
    "tasks.py",
    "losses.py",
    "labels.py",
    "ignored.py",
    "data.py",
    "training.py",
    "starting.py",
    "portable.py",
    "frozen.py",
    "features.py",
    "tuning.py",
    "freezing.py",
    "forward.py",
    "aside.py",
    "precision.py",
    "solving.py",
    "optimization.py",
    "loading.py",
    "holdout.py",
    "evaluation.py",
)
CORE_FOLDERS = ("engine", "metrics", "boundary")
PACKAGES = ("mtlbench", "torch", "torchvision", "timm", "lightning-fabric", "torchmetrics", "numpy")


def describe() -> dict[str, Any]:
    """Versions, git revision (with `dirty`), hardware, time: as JSON holds it."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_revision(Path(__file__).parent),
        "cpu": _cpu_model(),
        "cpu_threads": torch.get_num_threads(),
        "gpu": gpu,
        "cuda": torch.version.cuda if gpu else None,
        "command": sys.argv[1:],
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout that holds `folder`; None outside of git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def source_fingerprint(plugin: Any) -> str:
    """A checksum of the files that define a plugin: its own, and what they import of their folder."""
    module = inspect.getmodule(inspect.unwrap(plugin))
    if module is None or module.__file__ is None:
        return "unknown"
    files = {Path(module.__file__)}
    while fresh := {found for file in files for found in _imported_beside(file)} - files:
        files |= fresh
    return _checksum(files)


def core_fingerprint() -> str:
    """A checksum of the harness's files that decide what a cell computes."""
    folder = Path(__file__).parent
    parts = {file for part in CORE_FOLDERS for file in (folder / part).glob("*.py")}
    return _checksum({folder / name for name in CORE} | parts)


def _imported_beside(file: Path) -> set[Path]:
    """The files that a plugin's file imports relatively (plugins import their own folder so)."""
    state = file.stat()
    places = _relative_imports(file, state.st_mtime_ns, state.st_size)
    return {found for p in places for found in (p.with_suffix(".py"), p / "__init__.py") if found.is_file()}


@cache
def _relative_imports(file: Path, changed: int, size: int) -> tuple[Path, ...]:
    """Where a file that was last `changed` then looks for modules of its folder."""
    found = [
        s
        for s in _statements(ast.parse(file.read_bytes()).body)
        if isinstance(s, ast.ImportFrom) and s.level == 1
    ]
    modules = [(s.module or "").split(".") for s in found]
    modules += [[*(s.module or "").split("."), alias.name] for s in found for alias in s.names]
    return tuple(dict.fromkeys(file.parent.joinpath(*filter(None, parts)) for parts in modules))


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Also those inside of others; expressions, most of a tree, hold none."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(statement, part, ()))


def _checksum(files: set[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )

"""Where a result comes from: code, versions, hardware."""

from __future__ import annotations

import hashlib
import inspect
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

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
    """A checksum of the file that defines a plugin: it tells when a result's code has changed since."""
    file = inspect.getsourcefile(inspect.unwrap(plugin))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else "unknown"


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

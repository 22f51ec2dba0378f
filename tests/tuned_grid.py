"""A grid with the key `tune`, of the plugins in `tests/plugins/tiny.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mtlbench.config import Grid, load_grid
from mtlbench.registry import Registry

GRID: dict[str, Any] = {
    "name": "g",
    "dataset": "tiny",
    "tasks": ["semseg", "depth"],
    "backbone": "tiny",
    "method": "multi_task",
    "balancer": "equal",
    "recipe": {"iterations": 4, "batch_size": 4},
    "seed": [0, 3],
    "baseline": "single_task",
    "tune": {},
}


def load(folder: Path, registry: Registry, **changes: Any) -> Grid:
    """The grid with other keys; None leaves one out."""
    file = folder / "grid.yaml"
    content = {key: value for key, value in {**GRID, **changes}.items() if value is not None}
    file.write_text(yaml.safe_dump(content))
    return load_grid(file, registry)

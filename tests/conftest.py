"""What all tests share."""

from pathlib import Path

import pytest
import torch

from mtlbench.registry import Registry, registry

TINY_PLUGINS = Path(__file__).parent / "plugins" / "tiny.py"

torch.set_num_threads(1)  # networks this small gain nothing from more, and lose much on busy machines


@pytest.fixture
def tiny_registry() -> Registry:
    """The registry with the plugins of `tests/plugins/tiny.py`."""
    registry.add_file(TINY_PLUGINS)
    return registry

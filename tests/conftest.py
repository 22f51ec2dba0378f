"""What all tests share."""

from pathlib import Path

import pytest

from mtlbench.registry import Registry, registry

TINY_PLUGINS = Path(__file__).parent / "plugins" / "tiny.py"


@pytest.fixture
def tiny_registry() -> Registry:
    """The registry with the plugins of `tests/plugins/tiny.py`."""
    registry.add_file(TINY_PLUGINS)
    return registry

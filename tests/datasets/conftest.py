"""Rooms that several test files look at."""

import pytest
from mtlbench.datasets.rendering import Rendered, compose, render


@pytest.fixture(scope="session")
def rooms() -> list[Rendered]:
    """Eight small rooms."""
    return [render(compose((0, 0, index), 64 / 48), 48, 64) for index in range(8)]

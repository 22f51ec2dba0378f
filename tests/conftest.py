"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from mtlbench.registry import Registry, registry

if TYPE_CHECKING:
    from postgres_server import PostgresServer

TINY_PLUGINS = Path(__file__).parent / "plugins" / "tiny.py"

torch.set_num_threads(1)  # networks this small gain nothing from more, and lose much on busy machines


@contextmanager
def plugins_as_they_were() -> Iterator[None]:
    """What is registered in between is gone afterwards, so that no test sees what another one registered."""
    files, found = registry.files, registry._discovered()
    kept = {family: {name: list(offers) for name, offers in table.items()} for family, table in found.items()}
    yield
    registry.files, registry._plugins = files, kept


@pytest.fixture(scope="module", autouse=True)
def _plugins_of_a_module() -> Iterator[None]:
    with plugins_as_they_were():
        yield


@pytest.fixture(autouse=True)
def _plugins_of_a_test(_plugins_of_a_module: None) -> Iterator[None]:
    with plugins_as_they_were():
        yield


@pytest.fixture
def tiny_registry() -> Registry:
    """The registry with the plugins of `tests/plugins/tiny.py`."""
    registry.add_file(TINY_PLUGINS)
    return registry


@pytest.fixture
def undisturbed(tiny_registry: Registry) -> Iterator[None]:
    """For cells in this process: the tiny plugins; signals as they were, also for the tests that follow."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Of PostgreSQL; a test that stops it starts it again."""
    from postgres_server import postgres_server  # its driver is needed by few tests

    with postgres_server() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Of an index; None: the file in the folder of runs."""
    return None if request.param == "sqlite" else request.getfixturevalue("server").url

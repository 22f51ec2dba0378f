"""Independent pieces of work on two threads; the renderer releases the interpreter's lock."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
SILENCE = 10.0
"""Seconds after which work that goes on says how far it is."""


def each(work: Callable[[int], T], count: int, what: str) -> list[T]:
    """The results of work(0) to work(count - 1), in order; long work logs its progress.

    An error, or an interrupt, ends it after the pieces at hand.
    """
    results: list[T] = []
    said = time.monotonic()
    pool = ThreadPoolExecutor(2)
    try:
        for result in pool.map(work, range(count)):
            results.append(result)
            if time.monotonic() - said > SILENCE:
                said = time.monotonic()
                log.info("%s: %d of %d", what, len(results), count)
    finally:
        pool.shutdown(cancel_futures=True)
    return results

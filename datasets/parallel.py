"""Independent pieces of work on two threads; the renderer releases the interpreter's lock."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


def each(work: Callable[[int], T], count: int, what: str) -> list[T]:
    """The results of work(0) to work(count - 1), in order; logs progress every tenth.

    An error, or an interrupt, ends it after the pieces at hand.
    """
    results: list[T] = []
    pool = ThreadPoolExecutor(2)
    try:
        for result in pool.map(work, range(count)):
            results.append(result)
            if len(results) % max(count // 10, 1) == 0:
                log.debug("%s: %d of %d", what, len(results), count)
    finally:
        pool.shutdown(cancel_futures=True)
    return results

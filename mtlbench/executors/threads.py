"""How many threads the libraries of a cell's process use."""

from __future__ import annotations

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables; the libraries read them when they are imported."""
    return dict.fromkeys(_VARIABLES, str(threads))

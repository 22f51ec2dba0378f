"""What goes wrong for a user, as opposed to a bug in mtlbench."""

from collections.abc import Iterator
from contextlib import contextmanager


class MtlbenchError(Exception):
    """A mistake in the input: the message says what is required, what was found, and what to do."""


class DataError(MtlbenchError):
    """A data file is missing, damaged or holds values that it must not hold; the message names its path."""


class CellFailed(MtlbenchError):
    """One cell can't go on (its loss became NaN, say); the rest of the grid does."""


class MissingExtra(MtlbenchError):
    """An optional dependency is absent."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs `{package}`, which is not installed: pip install 'mtlbench[{extra}]'"
        )


@contextmanager
def mistakes_of(file: object) -> Iterator[None]:
    """Let complaints about what a file asks for name the file."""
    try:
        yield
    except MtlbenchError as error:
        lines = str(error).splitlines()
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        raise MtlbenchError("\n  ".join([f"{file}: {count}", *lines])) from error

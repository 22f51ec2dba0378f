"""What goes wrong for a user, as opposed to a bug in mtlbench."""


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

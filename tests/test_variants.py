"""Quirks of published code, read from docstrings."""

from typing import Any, ClassVar, Literal

import pytest

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.testing import TinyBackbone, tiny_tasks
from mtlbench.variants import kept_quirks, quirks, variants


class Quirky(Method):
    """A method.

    Args:
        variant: which.

    Quirks:
        first: the published code does this,
            and goes on doing so: always; corrected: something else.
        unused_part: nothing reads it; corrected: left out.

    Nothing here: is a quirk.
    """

    variants: ClassVar[Any] = {"table": ("first",)}
    sample_mixing = ("first",)

    def __init__(
        self, backbone: Any, tasks: Any, *, variant: Literal["corrected", "published"] = "corrected"
    ) -> None:
        super().__init__(backbone, tasks)
        self.keep_quirks(variant)


def test_quirks_are_read_from_the_docstring() -> None:
    found = quirks(Quirky)
    assert list(found) == ["first", "unused_part"]
    assert found["first"].endswith("goes on doing so: always; corrected: something else.")
    assert quirks(Method) == {}


def test_a_class_has_the_quirks_of_what_it_derives_from() -> None:
    class Derived(Quirky):
        """Says nothing of quirks."""

    assert quirks(Derived) == quirks(Quirky)
    assert kept_quirks(Derived, "published", ()) == {"first", "unused_part"}


def test_variants_keep_quirks() -> None:
    assert variants(Quirky) == {
        "corrected": frozenset(),
        "published": {"first", "unused_part"},
        "table": {"first"},
    }
    assert kept_quirks(Quirky, "published", ["first"]) == {"unused_part"}


def test_a_network_knows_whether_it_mixes_samples() -> None:
    networks = [Quirky(TinyBackbone(), tiny_tasks(), variant=v) for v in ("corrected", "published")]  # type: ignore[arg-type]
    assert [network.mixes_samples for network in networks] == [False, True]


@pytest.mark.parametrize(
    ("variant", "without", "message"),
    [
        ("publishd", (), "unknown `variant` of Quirky `publishd`: did you mean `published`"),
        ("published", ("frist",), "`published` of Quirky has first, unused_part, got 'frist'"),
        ("table", ("unused_part",), "`table` of Quirky has first, got 'unused_part'"),
        ("corrected", ("first",), "`corrected` of Quirky has none, got 'first'"),
    ],
)
def test_wrong_variants(variant: str, without: tuple[str, ...], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        kept_quirks(Quirky, variant, without)

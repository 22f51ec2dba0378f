"""How costs of attention between tasks grow, counted on tensors without content."""

import pytest
from growth import grid, macs


def ratio(kind: str, before: tuple[int, tuple[int, int]], after: tuple[int, tuple[int, int]]) -> float:
    return macs(kind, *after) / macs(kind, *before)


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("full", 12, 16), ("window", 3.9, 4.1), ("deformable", 3.9, 4.1), ("linear", 3.9, 4.1)],
)
def test_four_times_as_many_pixels(kind: str, least: float, most: float) -> None:
    """Full attention takes up to sixteen times as much, the others four times."""
    assert least < ratio(kind, (4, (28, 28)), (4, (56, 56))) < most


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("full", 3.8, 4), ("window", 2.3, 4), ("deformable", 2.5, 4), ("linear", 1.9, 2.1)],
)
def test_twice_as_many_tasks(kind: str, least: float, most: float) -> None:
    """All but linear attention go towards four times as much."""
    assert least < ratio(kind, (4, (56, 56)), (8, (56, 56))) < most


def test_an_order_of_magnitude_at_the_size_of_nyud() -> None:
    """Deformable against full attention of four tasks at 1/8 of 448x576."""
    assert macs("full", 4, grid(8)) > 10 * macs("deformable", 4, grid(8))


def test_full_attention_is_the_formula() -> None:
    """4 L d^2 for its four linear maps, 2 L^2 d for its two products."""
    tokens, dim = 2 * 28 * 36, 256
    assert macs("full", 2, grid(16)) == 4 * tokens * dim**2 + 2 * tokens**2 * dim


def test_deformable_attention_is_the_formula() -> None:
    """2 L d^2, three numbers for each place, and five for each channel of a place that is read."""
    tasks, tokens, dim, heads, points = 4, 4 * 28 * 36, 256, 8, 4
    expected = (
        2 * tokens * dim**2 + 3 * tokens * dim * heads * tasks * points + 5 * tokens * tasks * points * dim
    )
    assert macs("deformable", tasks, grid(16)) == expected

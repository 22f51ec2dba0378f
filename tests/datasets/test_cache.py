"""Cached arrays: whole or absent, and damage is named."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mtlbench.datasets import cache
from mtlbench.datasets.cache import Layout

from mtlbench.errors import DataError

LAYOUTS = {"a": Layout((5, 3), "uint8"), "b": Layout((5,), "float32")}


def fill(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    arrays["a"][:] = 7
    arrays["b"][:] = 0.5
    return {"checksum": "x"}


def test_round_trip(tmp_path: Path) -> None:
    cache.create(tmp_path / "set", LAYOUTS, fill)
    arrays = cache.load(tmp_path / "set", LAYOUTS)
    assert (arrays["a"] == 7).all()
    assert (arrays["b"] == 0.5).all()
    assert cache.manifest(tmp_path / "set") == {"checksum": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.create(tmp_path / "set", LAYOUTS, fail)
    assert not list(tmp_path.iterdir())


def test_two_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def fill_together(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        together.wait(10)
        return fill(arrays)

    makers = [
        threading.Thread(target=cache.create, args=(tmp_path / "set", LAYOUTS, fill_together))
        for _ in range(2)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert cache.damage(tmp_path / "set", LAYOUTS) is None
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("what", ["cut", "gone", "manifest", "empty"])
def test_damage_is_named(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "set"
    cache.create(folder, LAYOUTS, fill)
    victim = folder / ("manifest.json" if what == "manifest" else "a.npy")
    if what == "gone":
        victim.unlink()
    else:
        victim.write_bytes(b"" if what == "empty" else victim.read_bytes()[:-1])
    with pytest.raises(DataError, match=victim.name) as caught:
        cache.load(folder, LAYOUTS)
    assert "mtlbench data make" in str(caught.value)


def test_other_shape_is_damage(tmp_path: Path) -> None:
    cache.create(tmp_path / "set", LAYOUTS, fill)
    problem = cache.damage(tmp_path / "set", {"a": Layout((6, 3), "uint8")})
    assert problem is not None
    assert "(6, 3)" in problem
    assert "(5, 3)" in problem


def test_unwritable_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        cache.create(tmp_path / "file" / "set", LAYOUTS, fill)

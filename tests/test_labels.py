"""Coded normals."""

import pytest
import torch

from mtlbench.labels import unit_normals


def coded(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7), (2, 2, 3, 9, 4)])
def test_values_of_codes(shape: tuple[int, ...]) -> None:
    code = coded(*shape)
    code[..., :, 0, 1] = 0
    vectors = unit_normals(code)
    expected = torch.nn.functional.normalize(2 * code.double() / 255 - 1, dim=-3)
    expected[..., :, 0, 1] = 0
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.double(), expected, rtol=0, atol=1e-6)


def test_plain_normals_stay() -> None:
    plain = torch.randn(2, 3, 4, 5)
    assert unit_normals(plain) is plain


def test_a_view_of_a_larger_map() -> None:
    code = coded(3, 8, 9)
    assert torch.equal(unit_normals(code[:, 2:6, 1:7]), unit_normals(code)[:, 2:6, 1:7])


def test_other_devices_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch for accelerators, run here on a tensor that says it is on one."""

    class Elsewhere(torch.Tensor):
        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("meta")

    code = coded(2, 3, 5, 7)
    code[:, :, 0, 1] = 0
    found = unit_normals(code.as_subclass(Elsewhere)).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, unit_normals(code), rtol=0, atol=1e-6)

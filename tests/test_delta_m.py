import pytest

from mtlbench.delta_m import delta_m


def test_delta_m_by_hand() -> None:
    directions = {"semseg": True, "depth": False}
    score = delta_m({"semseg": 44.0, "depth": 0.45}, {"semseg": 40.0, "depth": 0.5}, directions)
    assert score == pytest.approx(100 * (0.1 + 0.1) / 2)
    assert delta_m({"semseg": 40.0, "depth": 0.5}, {"semseg": 40.0, "depth": 0.5}, directions) == 0


def test_delta_m_of_the_published_table() -> None:
    """HRNet18 on NYUD-v2, Table I of the DeGMix paper: the multi-task baseline against single task."""
    single = {"semseg": 38.02, "depth": 0.6104, "normals": 20.94, "edge": 76.22}
    multi = {"semseg": 36.35, "depth": 0.6284, "normals": 21.02, "edge": 76.36}
    directions = {"semseg": True, "depth": False, "normals": False, "edge": True}
    assert delta_m(multi, single, directions) == pytest.approx(-1.89, abs=0.01)


def test_a_missing_task_is_an_error_not_a_mean_over_fewer() -> None:
    with pytest.raises(KeyError):
        delta_m({"semseg": 1.0}, {"semseg": 1.0, "depth": 1.0}, {"semseg": True, "depth": False})

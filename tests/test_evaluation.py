import pytest
import torch
from golden_cases import Widths
from mtlbench.methods.multi_task import MultiTask
from torch import nn

from mtlbench.evaluation import delta_m
from mtlbench.profiling import count_macs, count_parameters
from mtlbench.tasks import depth
from mtlbench.testing import TinyBackbone


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


def test_macs_of_a_convolution_and_of_a_deformable_one() -> None:
    network = MultiTask(TinyBackbone(), {"depth": depth()}, head_channels=4)
    before = count_macs(network, (16, 16))
    network.backbone.extra = nn.Identity()
    assert count_macs(network, (16, 16)) == before
    assert count_parameters(network)[0] == sum(p.numel() for p in network.parameters())
    assert network.training


def test_deformable_convolutions_are_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.ops import deform_conv2d

    x, offset, weight = torch.rand(1, 4, 5, 6), torch.zeros(1, 18, 5, 6), torch.rand(8, 4, 3, 3)
    with FlopCounterMode(display=False) as counter:
        deform_conv2d(x, offset, weight, padding=1)
    assert counter.get_total_flops() == 2 * 5 * 6 * 8 * 4 * 9


def test_frozen_parameters_do_not_train() -> None:
    network = MultiTask(Widths([4, 4, 4, 4]), {"depth": depth()})
    total, trainable = count_parameters(network)
    assert total == trainable
    next(iter(network.parameters())).requires_grad_(False)
    assert count_parameters(network)[1] < total

import torch
from golden_cases import Widths
from mtlbench.methods.multi_task import MultiTask
from torch import nn

from mtlbench.profiling import count_macs, count_parameters
from mtlbench.tasks import depth
from mtlbench.testing import TinyBackbone


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

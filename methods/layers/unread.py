"""Parameters of a backbone that make nothing but maps that a method doesn't read."""

import torch

from mtlbench.backbones.base import Backbone


def without_gradient(backbone: Backbone, read: list[int]) -> list[str]:
    """Names of the parameters on which none of the maps that are read depends: one small image tells."""
    named = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    if not named:
        return []
    device, training = next(iter(named.values())).device, backbone.training
    with torch.enable_grad():
        found = backbone.eval()(torch.zeros(1, 3, 64, 64, device=device))
        each = found.values() if isinstance(found, dict) else [found]  # maps of each task's own, or shared
        total = torch.stack([maps[i].sum() for maps in each for i in read]).sum()
    backbone.train(training)
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]

"""A backbone of transformer blocks small enough for tests that train."""

from mtlbench.backbones.swin import Swin
from mtlbench.testing import tunings


def tiny_swin(*, weights: str = "none") -> Swin:
    """Five blocks of width 8 and more."""
    return tunings.tiny_swin()


plugins = {"backbone": {"tiny_swin": tiny_swin}}

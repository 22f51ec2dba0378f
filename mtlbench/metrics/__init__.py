"""Metrics under the names of their published variants; states are exact (int64 counts, float64 sums)."""

from mtlbench.metrics.boundary import BoundaryLoss, BoundaryScores
from mtlbench.metrics.depth import DepthError
from mtlbench.metrics.iou import MeanIoU
from mtlbench.metrics.normals import NormalsError
from mtlbench.metrics.saliency import MaxF

__all__ = ["BoundaryLoss", "BoundaryScores", "DepthError", "MaxF", "MeanIoU", "NormalsError"]

"""Metrics under the names of their published variants; states are exact (int64 counts, float64 sums).

One metric a task gives all variants in one pass. `mtlbench.catalogue` says in words what each of them is.
"""

from mtlbench.metrics.boundary import BoundaryLoss, BoundaryScores
from mtlbench.metrics.depth import DepthScores
from mtlbench.metrics.normals import NormalsScores
from mtlbench.metrics.parts import PartsScores
from mtlbench.metrics.saliency import SaliencyScores
from mtlbench.metrics.segmentation import SegmentationScores

__all__ = [
    "BoundaryLoss",
    "BoundaryScores",
    "DepthScores",
    "NormalsScores",
    "PartsScores",
    "SaliencyScores",
    "SegmentationScores",
]

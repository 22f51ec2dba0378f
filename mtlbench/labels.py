"""Label types that geometric transforms know: each is a TVTensor, so that `torchvision.transforms.v2` moves
it rightly.

Class maps (semseg, human_parts, sal, edge) are `ClassMap`: (H, W) uint8 or int64, 255 = ignored.
Depth is `Depth`: (1, H, W) float32, metres, 0 = invalid. Normals are `Normals`: (3, H, W) float32, unit
    vectors
(x right, y, z as the data set stores them), all-zero = invalid.
The kernels (a zoom divides depth, a flip negates the x of normals) are registered in
`mtlbench.datasets.transforms`.
"""

from torchvision import tv_tensors

IGNORE = 255
"""Class maps: pixels with this label count neither in a loss nor in a metric."""


class ClassMap(tv_tensors.Mask):
    """Class ids, (H, W), 255 = ignored; nearest interpolation, border filled with 255."""


class Depth(tv_tensors.TVTensor):
    """Depth in metres, (1, H, W) float32, 0 = invalid; nearest interpolation, divided by the zoom."""


class Normals(tv_tensors.TVTensor):
    """Unit normals, (3, H, W) float32, all-zero = invalid; nearest interpolation, a flip negates x."""

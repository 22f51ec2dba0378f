"""Label types that geometric transforms know: each is a TVTensor, so that `torchvision.transforms.v2` moves
it rightly.

Class maps (semseg, human_parts, sal, edge) are `ClassMap`: (H, W) uint8 or int64, 255 = ignored
    (`mtlbench.ignored`).
Depth is `Depth`: (1, H, W) float32, metres, 0 = invalid; `Disparity` is its inverse, up to a factor.
Normals are `Normals`: (3, H, W), unit vectors (x right, y, z as the data set stores them), float32 with
    all-zero = invalid, or coded in 8 bits as archives store them.
The kernels (a zoom divides depth, a flip negates the x of normals) are registered in
`mtlbench.datasets.geometry`.
"""

import torch
from torch import Tensor
from torchvision import tv_tensors


class ClassMap(tv_tensors.Mask):
    """Class ids, (H, W), 255 = ignored; nearest interpolation, border filled with 255."""


class Depth(tv_tensors.TVTensor):
    """Depth in metres, (1, H, W) float32, 0 = invalid; nearest interpolation, divided by the zoom."""


class Disparity(tv_tensors.TVTensor):
    """Inverse depth, (1, H, W) float32, 0 = invalid; nearest interpolation, multiplied by the zoom."""


class Normals(tv_tensors.TVTensor):
    """Unit normals, (3, H, W), nearest interpolation, a flip negates x.

    float32 with all-zero = invalid; or uint8, the code of image archives: n = 2 v / 255 - 1, normalised, and
    (0, 0, 0) = invalid. Batches keep the code, a quarter of the bytes, until they are on the device.
    """


def unit_normals(labels: Tensor) -> Tensor:
    """(..., 3, H, W) normals in either form -> float32 unit vectors, all-zero where invalid."""
    if labels.dtype != torch.uint8:
        return labels
    if labels.device.type == "cpu":
        from mtlbench.unit_vectors import decode  # compiled: loaded where it is used

        vectors = torch.empty(labels.shape)
        shape = (-1, *labels.shape[-3:])
        decode(labels.reshape(shape).numpy(), vectors.view(shape).numpy())
        return vectors
    x, y, z = (labels.float() * 2 - 255).unbind(-3)
    inverse = (x * x + y * y + z * z).rsqrt() * (labels != 0).any(-3)
    return torch.stack([x * inverse, y * inverse, z * inverse], -3)

"""Gramians of task gradients whose sizes may differ by many orders of magnitude.

What depends on directions only is computed from cosines: `K = diag(n) C diag(n)`, with the norms n of the
task gradients and 1 on the diagonal of C. Sizes then spoil no digits, and "linearly dependent" means the same
for small and for large gradients.
"""

import torch
from torch import Tensor

CUT = 1e-12
"""Eigenvalues of C below this part of the largest are zero: that is how far rows in float32 can be from
exactly dependent, and below it few digits of K are left."""


def unit(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """K (T, T) -> cosines C (T, T) and norms n (T,); a norm of 0 reads 1."""
    norms = gramian.diagonal().clamp(min=0).sqrt()
    norms = torch.where(norms > 0, norms, 1.0)
    return (gramian / norms[:, None] / norms).clamp(-1, 1).fill_diagonal_(1.0), norms


def spectrum(cosines: Tensor) -> tuple[Tensor, Tensor]:
    """C (T, T) -> its r eigenvalues (r,) that are not zero, and their eigenvectors (T, r)."""
    values, vectors = torch.linalg.eigh(cosines)
    kept = values > CUT * values[-1]
    return values[kept], vectors[:, kept]


def equalising(cosines: Tensor) -> Tensor:
    """C^+ 1 (T,): coefficients of the unit gradients whose sum has the same projection, 1, on each of them.

    Where gradients are dependent so that there are none: those of least squares.
    """
    values, vectors = spectrum(cosines)
    return vectors @ (vectors.sum(0) / values)

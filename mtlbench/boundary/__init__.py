"""Boundary detection scores (odsF, oisF, AP), exact and without MATLAB.

Kernels are compiled by numba at their first use. `protocols` imports neither numba nor torch.
"""

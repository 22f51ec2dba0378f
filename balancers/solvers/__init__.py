"""Exact solvers of the small problems that balancers pose on the inner products of task gradients."""

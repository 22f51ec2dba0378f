"""mtlbench: fair, reproducible benchmarks of multi-task learning for dense prediction."""

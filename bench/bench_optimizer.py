"""Optimizer steps: ``pytest bench/bench_optimizer.py``."""

from family import family_benchmark

test_optimizer = family_benchmark("optimizer")

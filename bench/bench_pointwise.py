"""Activations: ``pytest bench/bench_pointwise.py``."""

from family import family_benchmark

test_pointwise = family_benchmark("pointwise")

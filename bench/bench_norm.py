"""Normalisation: ``pytest bench/bench_norm.py``."""

from family import family_benchmark

test_norm = family_benchmark("norm")

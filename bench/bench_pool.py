"""Pooling: ``pytest bench/bench_pool.py``."""

from family import family_benchmark

test_pool = family_benchmark("pool")

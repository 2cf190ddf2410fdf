"""Dense layers: ``pytest bench/bench_dense.py``."""

from family import family_benchmark

test_dense = family_benchmark("dense")

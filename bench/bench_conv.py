"""Convolution: ``pytest bench/bench_conv.py``."""

from family import family_benchmark

test_conv = family_benchmark("conv")

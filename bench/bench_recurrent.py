"""Recurrent layers: ``pytest bench/bench_recurrent.py``."""

from family import family_benchmark

test_recurrent = family_benchmark("recurrent")

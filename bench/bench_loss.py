"""Losses: ``pytest bench/bench_loss.py``."""

from family import family_benchmark

test_loss = family_benchmark("loss")

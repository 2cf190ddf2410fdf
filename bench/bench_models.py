"""Whole models, a training step and an answer: ``pytest bench/bench_models.py``."""

from family import family_benchmark

test_models = family_benchmark("model")

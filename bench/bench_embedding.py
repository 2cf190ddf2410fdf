"""Embeddings: ``pytest bench/bench_embedding.py``."""

from family import family_benchmark

test_embedding = family_benchmark("embedding")

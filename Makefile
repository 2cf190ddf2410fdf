# The few commands a contributor types. Everything runs in the environment that `python` names.

PYTHON ?= python

.PHONY: build test lint bench ratios results ci clean

build:          ## compile the extension in place and install the package with its test tools
	$(PYTHON) -m pip install -e ".[test]"

test:           ## the whole suite at the machine's best instruction set
	$(PYTHON) -m pytest

lint:           ## style, format, types
	ruff check .
	ruff format --check .
	mypy
	clang-format --dry-run --Werror csrc/*.c csrc/*.h

bench:          ## every implementation of every operation, with pytest-benchmark
	$(PYTHON) -m pytest bench

ratios:         ## fastdl against PyTorch, interleaved in one process
	$(PYTHON) bench/compare.py

results:        ## against every library that is installed, one thread and two: what docs/benchmarks.md shows
	$(PYTHON) bench/compare.py --peers all --threads 1 2 \
		--json bench/results.json --svg docs/benchmarks.svg --html benchmarks.html

ci:             ## what a change must pass: fresh environments, every instruction set, no extension
	bash .ci/run

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .benchmarks
	rm -f fastdl/backends/_native.c fastdl/backends/_native*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

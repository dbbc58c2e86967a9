# The two commands: `make demo` and `make test`. Everything else is a step of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-slow test-vllm check clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python tools/demo.py --out demo

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test: setup
	$(PYTEST) -m "not slow"

# Kills, clusters, several processes, the demo end to end: CI runs these too.
test-slow: setup
	$(PYTEST) -m slow

# The vllm engine for real, on the CPU, in an environment of its own.
test-vllm: .venv-vllm/.ready
	OMP_NUM_THREADS=1 PYTHONPATH=. .venv-vllm/bin/python -m pytest -c tests/vllm/pytest.ini --rootdir . tests/vllm

.venv-vllm/.ready: tools/vllm_env.sh
	tools/vllm_env.sh

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

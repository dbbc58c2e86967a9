# The two commands: `make demo` and `make test`. Everything else is a step of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHELL := /bin/bash -o pipefail
# Of pip's some 500 lines: one that is written over on a terminal, every 25th package elsewhere. Errors come as they are.
BRIEFLY := awk -v live=$$(test -t 2 && echo 1) '/^ *(Collecting|Processing)/ {n++} \
  / *(Collecting|Processing|Downloading|Using|Building|Preparing|Installing|Successfully)/ { \
    line = substr(sprintf("%d packages: %s %s %s %s", n, $$1, $$2, $$3, $$4), 1, 78); \
    if (live) printf "\r\033[K%s", line; \
    else if (/Installing collected|Successfully/ || (/Collecting/ && n % 25 == 0)) print line; \
    fflush() } END { if (live) print "" }'

.PHONY: setup demo study test test-slow test-vllm test-tools check clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of constraints.txt into $(VENV): some minutes and several GB"
	@PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev]' | $(BRIEFLY)
	touch $@

demo: setup
	$(BIN)/python tools/demo.py --out demo

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

# STRIVE against its controls on the moments of the hard level of the rendered world. One seed takes some 15 minutes on 2
# cores, each further one 10: six arms of two to five minutes of one core. The same command with more SEEDS resumes it.
SEEDS ?= 1
SCORER ?= demo-noisy
S := study/$(SCORER)
STRIVE := OMP_NUM_THREADS=1 $(BIN)/strive-
# Named by its seeds: a shorter study of the same day replaces no longer one.
TABLE = manifests/studies/$(shell date +%F)-hard-$(SCORER)-$(SEEDS)-seeds
BUILD := --scorer $(SCORER) --candidates 64 --frames 8 --workers 1 --set decode.max_pixels=784 --set shard.frames=all

study: setup
	$(MAKE) --jobs 2 $S/train.shards $S/heldout.shards
	$(STRIVE)data judge $S/heldout.shards --sampler peaks --frames 8 --variants 1 --variants 2 --noise 0
	$(STRIVE)rl study hard --shards $S/train.shards --heldout $S/heldout.shards --model demo-hard --out $S/hard \
	  --seeds $(SEEDS) --workers 2
	cp $S/hard/study.json $(TABLE).json
	cp $S/hard/study.html $(TABLE).html

$S/train.shards: VIDEOS := 120 --seed 0
$S/heldout.shards: VIDEOS := 260 --seed 1000000
$S/%.shards:
	rm -rf $S/$* $@.part
	$(STRIVE)data synth --level hard --kind moment --out $S/$* --videos $(VIDEOS)
	$(STRIVE)data build $S/$*/questions.jsonl --data-root $S/$* --out $@.part $(BUILD)
	mv $@.part $@

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

# Exports read by the libraries that they are for, datasets and TRL, and the steps of TRL and PrefixGrouper that
# tools.bench.step compares: an environment of its own beside the packages of $(VENV), since none is needed to develop.
test-tools: .venv-tools/.ready
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 .venv-tools/bin/python -m pytest tests/strive_data/export/test_libraries.py \
	  tests/tools/bench/test_step.py

.venv-tools/.ready: $(READY)
	$(BIN)/python -m venv .venv-tools
	$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  >"$$(.venv-tools/bin/python -c 'import site; print(site.getsitepackages()[0])')/packages.pth"
	.venv-tools/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[trl,bench]'
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf demo study .mypy_cache .pytest_cache .ruff_cache .hypothesis

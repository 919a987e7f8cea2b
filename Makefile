# Two commands for a newcomer: `make train`, `make test`. Both make their own environment in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
OLDEST := .venv-oldest
export PYTHONUNBUFFERED := 1
# Where Python is told to write no bytecode, every start would compile torch anew: 10 s.
COMPILED := $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)

.PHONY: help setup train test soak oldest lint format benchmark lock clean

help:  ## List these commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with the locked packages (about 5 GB; a second time: nothing to do).

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) \
	  || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2; }
	@echo "Installing the locked packages into $(VENV) (the first time: one to three minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || echo "uv cannot be had: pip does it, more slowly"
	@if [ -x $(BIN)/uv ]; \
	  then $(BIN)/uv pip sync --quiet $(COMPILED) --python $(BIN)/python --require-hashes requirements.lock; \
	  else $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; fi
	@touch $(READY)

train: setup  ## Train a small VGG16-BN on generated images (a minute or two on two cores).
	@$(BIN)/python src/train.py experiment=quickstart

test: setup  ## The tests, side by side (about twelve minutes on two cores).
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

soak: setup  ## The longer tests as well (an hour).
	@$(BIN)/python -m pytest -m "soak or not soak"

oldest: setup  ## The tests with the oldest packages that pyproject.toml allows, on the oldest Python here (5 GB more).
	@$(BIN)/uv venv --quiet --allow-existing --python \
	  "$$(for minor in 11 12 13 14; do command -v python3.$$minor && break; done || echo $(PYTHON))" $(OLDEST)
	@$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --group dev -r pyproject.toml
	@$(OLDEST)/bin/python -m pytest

lint: setup  ## Style, format and types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup  ## Put every file into its format.
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

benchmark: setup  ## How fast a training step is here, beside the usual loop (some minutes).
	@$(BIN)/python benchmarks/train_step.py shapes=plain

lock: setup  ## Pin the newest versions that pyproject.toml allows.
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --upgrade --group dev pyproject.toml -o requirements.lock

clean:  ## Remove the environment and all caches; runs in outputs/ stay.
	@rm -rf $(VENV) $(OLDEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis

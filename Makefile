# `make help` lists the targets. Everything runs in .venv, which the first target that needs it creates.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format bench results

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests start many short processes, which get in each other's way with several threads each.
test: export OMP_NUM_THREADS ?= 1
test: export OPENBLAS_NUM_THREADS ?= 1

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(READY) ## create .venv and install sapnet with its exact dependencies
	@echo "$(VENV) is ready"

# The filter keeps one line per package; everything pip says is in the log.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "error: $(PYTHON) is older than Python 3.11; try: make setup PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) (once; several GB with PyTorch's GPU libraries)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --no-input --disable-pip-version-check --progress-bar off \
	    -c constraints.txt -e '.[sam,dev]' 2>&1 | tee $(VENV)/install.log \
	    | sed -u -n -E '/^(Collecting|Installing|Successfully|ERROR|error)/{s/^(.{100}).*/\1.../;p}' \
	    || { echo "error: installation failed; last lines of $(VENV)/install.log:" >&2; \
	         tail -n 15 $(VENV)/install.log >&2; exit 1; }
	@touch $@

demo: $(READY) ## the whole method on drawn scenes, no data and no network needed (a few minutes)
	@$(BIN)/sapnet demo --out demo

test: $(READY) ## the whole test suite
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## style and types
	@$(BIN)/ruff check src tests examples
	@$(BIN)/ruff format --check src tests examples
	@$(BIN)/mypy

format: $(READY) ## rewrite the files in the project's style
	@$(BIN)/ruff check --fix-only --quiet src tests examples
	@$(BIN)/ruff format --quiet src tests examples

bench: $(READY) ## make bench ARGS="NAME --data DIR --out DIR --seeds 3"
	@test -n "$(ARGS)" || { echo 'usage: make bench ARGS="NAME --data DIR --out DIR [--seeds N]"' >&2; exit 2; }
	@$(BIN)/sapnet bench $(ARGS)

results: $(READY) ## docs/results.md from benchmarks/results, after copying what is in ARGS="OUT"
	@$(BIN)/python benchmarks/results.py $(ARGS)

# `make` lists what there is. Everything runs in .venv, which `make setup` makes from the lock file
# with nothing but Python 3.11 or newer; a target that needs it makes it first.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock
UV_VERSION := 0.13.9

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long fuzz campaign lint format bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv: the locked packages, and this tree in editable form

$(STAMP): requirements.lock pyproject.toml dinemic/_version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "dinemic needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || rm -rf $(VENV)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "could not make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## two processes share a Person; one is killed and comes back
	$(BIN)/dinemic demo

test: lint ## every check, then every test that is not long
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --timeout 180

test-long: $(STAMP) ## the tests marked long, and every property with many more examples
	DINEMIC_TEST_PROFILE=long $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --timeout 3600 -m ""

fuzz: $(STAMP) ## every reader of outside bytes for SECONDS (60), led by coverage if atheris is there
	cd tests && $(CURDIR)/$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60) --jobs $(JOBS)

campaign: $(STAMP) ## worlds, kills and fuzzing for SECONDS (600); goes on where it was, prints a table
	cd tests && $(CURDIR)/$(BIN)/python -m campaign --seconds $(or $(SECONDS),600) \
	    --folder $(CURDIR)/campaign

lint: $(STAMP) ## formatting, ruff, mypy strict, who may import whom
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## write the formatting, and what ruff can mend by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(STAMP) ## the benchmarks, with their figures
	$(BIN)/python benchmarks/run.py --size large

lock: ## requirements.lock anew from pyproject.toml; UPGRADE=--upgrade takes newer releases
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv==$(UV_VERSION)
	.venv-lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	    --all-extras --group dev --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --output-file requirements.lock $(UPGRADE)
	rm -rf .venv-lock

clean: ## remove .venv and everything else that was made here
	rm -rf $(VENV) .venv-lock build dist .hypothesis .import_linter_cache .mypy_cache \
	    .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

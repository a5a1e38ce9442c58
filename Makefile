# `make` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
PARITY_STAMP := $(VENV)/.installed-parity
DOCS_STAMP := $(VENV)/.installed-docs

# The parity tests need PyTorch. On Linux pip may choose the large build for
# NVIDIA GPUs; pass TORCH_FLAGS="--index-url ..." to choose a build for the CPU.
TORCH_FLAGS ?=

# Paths that ruff looks at.
CODE := robustjax experiments tests docs .ci $(wildcard setup.py launch benchmarks)

# And those that shellcheck looks at.
SCRIPTS := .ci/run $(wildcard launch/*.sh launch/*/*.sh benchmarks/*.sh)

.DEFAULT_GOAL := help
.PHONY: help setup demo mini-study test test-all faults audit-deps lint format parity bench docs lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install robustjax and its pinned requirements into .venv

$(STAMP): requirements.lock requirements-build.lock setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' is not Python 3.11 or newer; install one and say: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' has no venv module; install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing robustjax and its requirements into $(VENV); this takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --require-hashes -r requirements-build.lock
	@$(PIP) install --quiet --require-hashes --no-build-isolation -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## Train and evaluate on the images that come with robustjax
	$(BIN)/python -m robustjax.main --config=experiments/mbn_alp.py:mini

# A run that fails does not keep the others' report from being written.
mini-study: setup  ## The paper in miniature: 28 runs and docs/mini_study
	$(BIN)/python -m launch.sweep --list=launch/mini_study.txt --runs=runs/mini_study; \
	  status=$$?; [ $$status -le 1 ] || exit $$status; \
	  $(BIN)/python -m robustjax.report runs/mini_study --out=docs/mini_study && exit $$status

PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

test: setup  ## Run the tests that hold every promise, in eight minutes on two cores
	$(PYTEST) -m "not (parity or thorough or toolchain)"

test-all: setup  ## Run all tests: with the browser, the launcher's shell, compilers
	$(PYTEST) -m "not parity"

faults: setup  ## Kill, damage and fill up runs, and write docs/reliability.md
	$(BIN)/python -m tests.faults

audit-deps: setup  ## Ask the package index for known vulnerabilities of what is pinned
	$(BIN)/python .ci/audit.py

lint: setup  ## Check style, formatting and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/shellcheck -x $(SCRIPTS)

format: setup  ## Format the code and sort its imports
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

parity: $(PARITY_STAMP)  ## Compare with PyTorch, TensorFlow and the TPU compiler (installs them into .venv)
	$(PYTEST) --dist loadfile -m parity

bench: $(PARITY_STAMP)  ## Measure this machine beside PyTorch, in up to half an hour, and write docs/performance.md
	$(BIN)/python -m benchmarks

$(PARITY_STAMP): $(STAMP) requirements-parity.txt
	@echo "Installing PyTorch with its libraries, TensorFlow and libtpu into $(VENV); this takes a minute or more."
	@$(PIP) install --quiet --no-compile $(TORCH_FLAGS) -c requirements-parity.txt torch
	@$(PIP) install --quiet --no-compile --no-deps -r requirements-parity.txt
	@touch $@

docs: $(DOCS_STAMP)  ## Build the documentation as a site in site/ (installs MkDocs into .venv)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open site/index.html."

$(DOCS_STAMP): $(STAMP) requirements-docs.lock
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements-docs.lock
	@touch $@

# Needs uv. One version of each package for every Python, so that all of them
# run the same code; the oldest supported Python decides which.
LOCK := uv pip compile --quiet --upgrade --universal --python-version 3.11 \
  --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate --no-header

lock:  ## Renew requirements*.lock (needs uv)
	@command -v uv >/dev/null || { echo "error: make lock needs uv (pip install uv)" >&2; exit 1; }
	$(LOCK) --extra test --extra dev setup.cfg -o requirements.lock
	printf 'setuptools>=77\n' | $(LOCK) - -o requirements-build.lock
	printf 'pip>=26.3\njax[cuda13,tpu]\n' | $(LOCK) -c requirements.lock - -o requirements-image.lock
	printf 'mkdocs-material\nmkdocstrings[python]\n' | $(LOCK) -c requirements.lock - -o requirements-docs.lock

clean:  ## Remove .venv and caches; runs/ stays
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Everything one does here, on a machine with nothing but Python 3.11+, git and make.
# Each target first installs what it needs into $(VENV), once.
#
# On Linux the plain torch of PyPI brings CUDA along (gigabytes). For the CPU build:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make run

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The extras of pyproject.toml that each environment adds to the library itself.
extras-run =
extras-test = [test]
extras-check = [dev]
extras-docs = [docs]

.DEFAULT_GOAL := help
.NOTPARALLEL:  # two pips must not write to one environment
.PHONY: help run test test-cuda check format docs clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.ready-run  ## Distil spoken digits to ten clips per class, into digits/
	$(BIN)/ddfad distill fsdd --cpc 10 --out digits

test: $(VENV)/.ready-test  ## Run all tests, the docstrings' examples included
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-cuda: $(VENV)/.ready-test  ## Run what is to be tested on a GPU, there
	DDFAD_CUDA=1 $(BIN)/python -m pytest tests/test_cuda.py

check: $(VENV)/.ready-check  ## Lint, check the formatting, check the types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.ready-check  ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.ready-docs  ## Build the documentation, into docs/_build/html/
	$(BIN)/python -m sphinx --fail-on-warning --keep-going docs docs/_build/html

clean:  ## Remove what was built; the environment and digits/ stay
	rm -rf build dist *.egg-info .*_cache docs/_build docs/auto_examples docs/generated

$(VENV)/.ready-%: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.$(extras-$*)'
	@touch $@

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# Every target sets up what it needs: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-oldest lint bench gpu clean

help:
	@echo "make demo         train the demo study, print its verdict, draw its figures"
	@echo "make test         run the tests"
	@echo "make test-all     run the tests and the longer studies"
	@echo "make test-oldest  try the oldest versions that setup.cfg allows, in .venv-oldest"
	@echo "make lint         check style, types and the direction of imports"
	@echo "make bench        time a training step against other ways to take it"
	@echo "make gpu          try all of it on a CUDA device, in .venv-gpu, and write gpu-report.md"
	@echo "make clean        delete what the targets made, except runs/"

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/quanta demo

test: $(READY)
	$(BIN)/python -m pytest -n 2

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 -m ""

test-oldest:
	$(PYTHON) -m venv --clear .venv-oldest
	PIP_CONSTRAINT=constraints-oldest.txt .venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check .
	cd .venv-oldest && bin/python ../tests/oldest.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks

# The newest torch for CUDA, which the tested versions, of a CPU, are not.
gpu:
	$(PYTHON) -m venv .venv-gpu
	grep -v '^torch' constraints.txt > .venv-gpu/constraints.txt
	PIP_CONSTRAINT=.venv-gpu/constraints.txt .venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	.venv-gpu/bin/python -m benchmarks.gpu gpu-report.md

clean:
	rm -rf .venv .venv-oldest .venv-gpu build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

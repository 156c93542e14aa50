# `make demo` and `make test` do all the set-up on a machine with Python 3.10 or newer and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint types pytest slow gpu wheel-test docs clean

setup: $(READY)  ## a virtual environment with the tested versions

demo: $(READY)  ## the whole loop on the built-in tiny model; ends with runs/demo/report.html
	$(BIN)/palate demo --out runs/demo

test: lint types pytest  ## what CI runs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

pytest: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

slow: $(READY)  ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

gpu: $(READY)  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

wheel-test: $(READY)  ## the built wheel, from another folder
	$(BIN)/python -m pytest tests/test_wheel.py

docs: $(READY)  ## the generated pages
	$(BIN)/python -m palate.cli.reference > docs/cli.md

# torch first: the version that everything else is tested with, before anything can ask for another one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt torch
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist .pytest_cache .ruff_cache
	find src tests recipes benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

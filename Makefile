# `make demo` and `make test` do all the set-up on a machine with Python 3.11 or newer and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venv-lowest
NEWEST := .venv-newest

.PHONY: setup demo test lint types pytest slow gpu wheel-test lowest newest docs clean

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

# Old releases use what newer releases of their own dependencies deprecate: that fails no test here.
lowest: $(LOWEST)/.ready  ## the tests with the lowest versions that pyproject.toml permits
	$(LOWEST)/bin/python -m pytest -n auto --dist loadfile \
		-W ignore::DeprecationWarning -W ignore::FutureWarning -W ignore::PendingDeprecationWarning $(TESTS)

newest: $(NEWEST)/.ready  ## the tests with the newest versions that there are, but for torch; TESTS=... runs a part
	$(NEWEST)/bin/python -m pytest -n auto --dist loadfile $(TESTS)

docs: $(READY)  ## the generated pages
	$(BIN)/python -m palate.cli.reference > docs/cli.md

# torch first: the version that everything else is tested with, before anything can ask for another one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt torch
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

# A new pip, as older ones download whole packages to learn what those need.
$(LOWEST)/.ready: pyproject.toml constraints.txt tests/floors.py
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install --upgrade pip
	$(LOWEST)/bin/pip install --constraint constraints.txt torch
	$(LOWEST)/bin/python tests/floors.py > $(LOWEST)/floors.txt
	$(LOWEST)/bin/pip install --constraint $(LOWEST)/floors.txt --editable '.[dev]'
	touch $@

$(NEWEST)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/pip install --upgrade pip
	grep '^torch==' constraints.txt > $(NEWEST)/torch.txt
	$(NEWEST)/bin/pip install --constraint $(NEWEST)/torch.txt torch
	$(NEWEST)/bin/pip install --constraint $(NEWEST)/torch.txt --upgrade --upgrade-strategy eager --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(NEWEST) dist .pytest_cache .ruff_cache
	find src tests recipes benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

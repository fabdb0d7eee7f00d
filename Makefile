# make demo   installs mien and recognises the bundled photograph
# make test   installs everything, then runs lint, types and tests
# make lint   lint and types alone
# make docs   builds the documentation into site/, warnings are errors
# make results   writes the generated tables of the documentation from results/

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

demo: $(VENV)/.installed
	$(BIN)/mien recognize examples/astronaut.jpg -o demo

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going docs site

results: $(VENV)/.installed-dev
	$(BIN)/python tools/write_docs.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

.PHONY: demo test lint docs results

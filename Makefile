# make demo      installs mien and recognises the bundled photograph
# make check     installs everything, then lint, types and the quick tests: within two minutes
# make test      the same with all tests
# make lint      lint and types only
# make docs      builds the documentation into site/; warnings are errors
# make results   writes the generated parts of the documentation

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

demo: $(VENV)/.installed
	$(BIN)/mien recognize examples/astronaut.jpg -o demo

# Two processes of one thread each are faster than one of two. A file's tests stay in one process, with their fixtures.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# mypy runs beside the tests: it uses one core, and most of its time passes while these wait for files or processes.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy & mypy=$$!; \
	$(PYTEST) -m "not (slow or training or browser or film or process or figure or full_size)"; tests=$$?; \
	wait $$mypy && exit $$tests

test: lint
	$(PYTEST)

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

.PHONY: demo check test lint docs results

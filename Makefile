# make demo   creates .venv, installs Millstream, makes the database, serves the demo and prints its address
# make test   creates .venv, installs Millstream and its tools, runs every check and every test
#
# make check  the checks without the tests       make format   let the formatter and the linter repair
# make docs   write the generated parts of it    make bench    measure, and write BENCHMARKS.md
# make soak   minutes of everything at once      make conformance   the public suite for durable streams
# make clean  remove what was made here          PYTHON=, HOST=, PORT= choose another interpreter or address

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TOOLS := $(VENV)/tools

.PHONY: demo test check lint types layers unit docs bench soak conformance format clean

demo: $(INSTALLED)
	$(BIN)/millstream demo --host $(HOST) --port $(PORT)

test: check unit

check: lint types layers

lint: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(TOOLS)
	$(BIN)/mypy

layers: $(TOOLS)
	$(BIN)/lint-imports

unit: $(TOOLS)
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal --cov --cov-report=term

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

bench: $(TOOLS)
	$(BIN)/python -m pip install --quiet --requirement benchmarks/requirements.txt
	$(BIN)/python benchmarks --write

MINUTES ?= 3
soak: $(TOOLS)
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

conformance: $(TOOLS)
	$(BIN)/python tests/durable/conformance/run.py

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say what was installed from which pyproject.toml; an editable installation needs no other reason.
$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[demo]"
	@touch $@

$(TOOLS): pyproject.toml $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or name one with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Millstream needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1): name another one with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create virtual environments: install its venv module (on Debian: python3-venv)" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

# Two commands on a fresh machine: `make run` and `make test`. Everything else is for developers.
#
#   PYTHON=python3.12        the Python to build the environment with; default: the first one that is >= 3.11
#   PIP_ARGS="…"             passed on to pip; for a CPU build of torch what pytorch.org says for Pip and CPU
#   PYTEST_ARGS="-k syntax"  passed on to pytest
#   SWEEP_ARGS="--again"     passed on to the sweep over published networks

VENV        ?= .venv
PIP_ARGS    ?=
PYTEST_ARGS ?=
SWEEP_ARGS  ?=
BIN         := $(VENV)/bin
STAMP       := $(VENV)/.installed
CANDIDATES  := python3 python3.13 python3.12 python3.11 python3.14 python
MODERN      := 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON      ?= $(shell for p in $(CANDIDATES); do $$p -c $(MODERN) >/dev/null 2>&1 && echo $$p && break; done)

.PHONY: run test test-slow check format docs site bench sweep clean

run: $(STAMP)
	$(BIN)/recipe run recipes/quickstart.rcp

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m slow $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m recipelang.reference

# The documentation as a site in build/site, which opens from disk.
site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "build/site/index.html"

bench: $(STAMP)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# What can be removed from published networks: measures those that have no row yet, and writes docs/coverage.md.
sweep: $(STAMP)
	$(BIN)/python -m benchmarks.sweep $(SWEEP_ARGS)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# The environment is built once; it is renewed when pyproject.toml changes.
$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "recipelang needs Python >= 3.11; name one with make PYTHON=…" >&2; exit 1; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -e ".[dev]"
	@touch $(STAMP)

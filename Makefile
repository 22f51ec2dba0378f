# make run: set up and run the quickstart grid.    make test: set up and run lint, types and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := mtlbench methods balancers tunings datasets reports
TYPES := .types

.PHONY: run test lint types unit clean

run: $(VENV)/installed
	$(BIN)/python run_bench.py

test: lint
	$(MAKE) -j 2 types unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The plugin folders stand at the top but are imported as mtlbench.methods and so on: show mypy that tree.
types: $(VENV)/installed-test
	rm -rf $(TYPES) && mkdir -p $(TYPES)/mtlbench
	ln -s $(addprefix $(CURDIR)/,$(wildcard mtlbench/*)) $(TYPES)/mtlbench/
	ln -s $(addprefix $(CURDIR)/,$(filter-out mtlbench,$(SOURCES))) $(TYPES)/mtlbench/
	cd $(TYPES) && ../$(BIN)/mypy --config-file ../pyproject.toml -p mtlbench

# Two test processes of one thread each: more threads than cores make torch several times slower. Each works
# through one half of the files, which make their fixtures once, and then takes from the other's.
unit: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 10

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mtlbench needs Python >= 3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) $(TYPES) build dist *.egg-info

# Everything here sets itself up: Python, a C compiler and make are enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# setuptools warns of every editable installation; there is nothing to be done about it.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable
LINE ?=

# What an installation is made of; Python files are used where they stand.
BUILT := pyproject.toml setup.py $(wildcard onlinesvm/kernel/native/*.p[yx][xid] onlinesvm/kernel/csrc/*/*.h)

.PHONY: demo test fuzz chaos mutations soak test-readme lint types check sanitize \
	bench bench-full bench-torch clean

demo: $(VENV)/.runtime  ## stream this machine's Python library through a daemon
	@$(BIN)/onlinesvm demo $(if $(LINE),"$(LINE)")

test: $(VENV)/.dev  ## all tests but the README's
	$(BIN)/python -m pytest -n 2 --ignore tests/test_readme.py

fuzz: $(VENV)/.dev  ## every property over many fresh random examples
	$(BIN)/python -m pytest -n 2 --hypothesis-profile fuzz --timeout 1200 -m hypothesis

chaos: $(VENV)/.dev  ## kill the daemon 500 times on each kernel; CHAOS_KILLS and CHAOS_SEED say else
	CHAOS_KILLS=$(or $(CHAOS_KILLS),500) $(BIN)/python -m pytest tests/service/test_chaos.py

mutations: $(VENV)/.dev  ## damage 10,000 state folders; MUTATIONS and MUTATIONS_SEED say else
	MUTATIONS=$(or $(MUTATIONS),10000) $(BIN)/python -m pytest tests/service/storage/test_mutations.py

soak: $(VENV)/.dev  ## everything at once, at full load, with kills; SOAK_MINUTES says how long
	$(BIN)/python -m tests.soak --minutes $(or $(SOAK_MINUTES),3)

test-readme: $(VENV)/.dev  ## the README's commands, as printed
	$(BIN)/python -m pytest tests/test_readme.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test test-readme  ## what CI runs

sanitize: $(VENV)/.dev  ## the compiled kernel under AddressSanitizer and UBSan
	tests/sanitize.sh $(BIN)/python

bench: $(VENV)/.bench  ## how fast, the short form: a few minutes, results in build/bench
	$(BIN)/python -m bench

bench-full: $(VENV)/.bench  ## the full form: results, tables and plots in bench/
	$(BIN)/python -m bench --full

bench-torch: $(VENV)/.bench  ## embedding bags beside ours, on the GPU too where there is one
	$(INSTALL) '.[bench,torch]'
	$(BIN)/python -m bench.embedding_bag --full
	$(BIN)/python -m bench.claims --full
	$(BIN)/python -m bench.report

clean:
	rm -rf $(VENV) onlinesvm/kernel/native/*.so build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.runtime: $(BUILT) | $(BIN)/python
	$(INSTALL) .
	@touch $@

$(VENV)/.dev: $(BUILT) | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.bench: $(BUILT) | $(BIN)/python
	$(INSTALL) '.[bench]'
	@touch $@ $(VENV)/.runtime

# Everything here sets itself up: Python, a C compiler and make are enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# setuptools warns of every editable installation; there is nothing to be done about it.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable
LINE ?=

# What an installation is made of; Python files are used where they stand.
BUILT := pyproject.toml setup.py onlinesvm/kernel/constants.py onlinesvm/magnitudes.py \
	onlinesvm/metrics/constants.py onlinesvm/model/rules/constants.py \
	onlinesvm/text/constants.py \
	$(wildcard onlinesvm/kernel/native/*.p[yx][xid] onlinesvm/kernel/csrc/*/*.h)

.PHONY: demo test test-redis test-dask test-net test-page thorough fuzz chaos mutations attacks soak \
	test-docs test-install lint types check sanitize \
	docs bench bench-full bench-torch clean help

demo: $(VENV)/.runtime  ## stream this machine's Python library through a daemon
	@$(BIN)/onlinesvm demo $(if $(LINE),"$(LINE)")

test: $(VENV)/.dev  ## all tests but the thorough ones and those of the documentation
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/test_docs.py \
		-m 'not redis and not page and not thorough and not dask and not net'

thorough: $(VENV)/.dev  ## what takes long, whole: `make test` tries a part of it
	$(BIN)/python -m pytest -n 2 --dist worksteal -m thorough

fuzz: $(VENV)/.dev  ## every property over many fresh random examples
	$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile fuzz --timeout 1200 -m hypothesis

chaos: $(VENV)/.dev  ## kill the daemon 500 times on each kernel (CHAOS_KILLS=N CHAOS_SEED=N)
	CHAOS_KILLS=$(or $(CHAOS_KILLS),500) $(BIN)/python -m pytest tests/service/test_chaos.py tests/service/test_chaos_models.py tests/service/test_chaos_held.py tests/service/test_chaos_classes.py

mutations: $(VENV)/.dev  ## damage 10,000 state folders (MUTATIONS=N MUTATIONS_SEED=N)
	MUTATIONS=$(or $(MUTATIONS),10000) $(BIN)/python -m pytest tests/service/storage/test_mutations.py

attacks: $(VENV)/.dev  ## peers that mean harm, for 20 seconds each (ATTACK_S=N)
	ATTACK_S=$(or $(ATTACK_S),20) $(BIN)/python -m pytest tests/service/test_attacks.py

soak: $(VENV)/.dev  ## all at once, at full load, with kills, for three minutes (SOAK_MINUTES=N)
	$(BIN)/python -m tests.soak --minutes $(or $(SOAK_MINUTES),3)

test-redis: $(VENV)/.dev  ## those with redis-server: kills, trims (REDIS_ROUNDS=N CHAOS_SEED=N)
	REDIS_ROUNDS=$(or $(REDIS_ROUNDS),200) $(BIN)/python -m pytest -m redis

test-dask: $(VENV)/.dev  ## those with a Dask cluster of processes: kills, restarts
	$(BIN)/python -m pytest -m 'dask and not net'

test-net: $(VENV)/.dev  ## those whose links go down, in network namespaces: root alone
	$(BIN)/python -m pytest -m net

test-page: $(VENV)/.dev  ## those with Chromium and promtool: the live page, the metrics
	$(BIN)/python -m pytest -m page

test-docs: $(VENV)/.dev  ## the commands of README and docs, as printed
	$(BIN)/python -m pytest tests/test_docs.py

docs: $(VENV)/.docs  ## the site of these pages, in build/docs; warnings are errors, doctests run
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going -c docs -b html . build/docs
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning -c docs -b doctest . build/doctest

test-install: $(VENV)/.dev  ## wheels built with and without a compiler, installed and run
	$(BIN)/python -m pytest tests/install.py

lint: $(VENV)/.dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

check: lint types test test-docs  ## what CI runs

sanitize: $(VENV)/.dev  ## the compiled kernel under AddressSanitizer and UBSan
	tests/sanitize.sh $(BIN)/python

bench: $(VENV)/.bench  ## how fast, the short form: a few minutes, results in build/bench
	$(BIN)/python -m bench

bench-full: $(VENV)/.bench  ## the full form: results, tables and plots in bench/
	$(BIN)/python -m bench --full

bench-torch: $(VENV)/.bench  ## compare with torch, and check the published claims; uses a GPU if there is one
	$(INSTALL) '.[bench,torch]'
	$(BIN)/python -m bench.embedding_bag --full
	for name in claims recurrent packed autoencoder voices cross_features; do \
		$(BIN)/python -m bench.$$name --full || exit 1; \
	done
	$(BIN)/python -m bench.report

help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean:  ## remove what was built, the virtual environment too
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

$(VENV)/.docs: $(BUILT) | $(BIN)/python
	$(INSTALL) '.[docs,sklearn]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.bench: $(BUILT) | $(BIN)/python
	$(INSTALL) '.[bench]'
	@touch $@ $(VENV)/.runtime

# Everything runs in .venv, which is set up from nothing but Python 3.11 and make, and again when
# pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Small models train faster on one thread, above all where tests share the cores with Ray's processes.
# Two processes, and a file's tests in one: they share what is dear.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
SERVICES_REPORT := $(VENV)/services.xml
CONFIG ?= configs/quickstart.json

.DEFAULT_GOAL := help
.PHONY: help search test test-services lint bench bench-full configuration docs clean

help:
	@echo "make search         run the search of CONFIG (now $(CONFIG))"
	@echo "make test           run the quick tests and the examples in docstrings"
	@echo "make test-services  run the long tests: clusters, kills, searches; none may be skipped"
	@echo "make lint           check style, types and the direction of imports"
	@echo "make bench          run a short tier of the benchmarks of speed in a copy of the checkout, under 15 minutes"
	@echo "make bench-full     run all of them, hours on 2 cores, and write their tables into docs/benchmarks.md"
	@echo "make configuration  write docs/configuration.md from the fields of the configuration"
	@echo "make docs           build the API reference into build/docs; warnings are errors"
	@echo "make clean          remove the environment, builds and caches; results stay"

search: $(VENV)/.search
	@$(BIN)/python -m jobs.search --config $(CONFIG)

test: $(VENV)/.dev
	@$(PYTEST) -m "not services"
	@$(PYTEST) --doctest-modules hcvae --quiet

# tests/conftest.py puts the folders with the longest tests first. pytest's exit status 5: no test bears the marker.
test-services: $(VENV)/.dev
	@$(PYTEST) --no-loadscope-reorder -m services --timeout 900 --junit-xml=$(SERVICES_REPORT) || test $$? -eq 5
	@if grep -q "<skipped" $(SERVICES_REPORT); then echo "make test-services: no test may be skipped here" >&2; exit 1; fi

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

configuration: $(VENV)/.dev
	@PYTHONPATH=. $(BIN)/python docs/configuration_reference.py

docs: $(VENV)/.dev
	@$(BIN)/python docs/api_reference.py build/docs

# Short runs must not replace the tables of whole ones, so they write into the docs of a copy.
BENCH_COPY := build/bench
BENCH := cd $(BENCH_COPY) && $(CURDIR)/$(BIN)/python -m
bench: $(VENV)/.dev
	@rm -rf $(BENCH_COPY) && mkdir -p $(BENCH_COPY)/tests
	@cp -r hcvae tune jobs cluster benchmarks configs docs $(BENCH_COPY)
	@cp -r tests/fixtures $(BENCH_COPY)/tests
	@$(BENCH) benchmarks.ceilings --rounds 3
	@$(BENCH) benchmarks.training_step --rounds 1 --rows 8000 --epochs 1
	@$(BENCH) benchmarks.training_operators --rounds 1
	@$(BENCH) benchmarks.model_cost --rounds 5
	@$(BENCH) benchmarks.decoder_cost --rounds 3
	@$(BENCH) benchmarks.search_throughput --rounds 1 --trials 2 --rows 4000
	@$(BENCH) benchmarks.data_parallel --rounds 1 --rows 4000
	@$(BENCH) benchmarks.scaling --rounds 1
	@$(BENCH) jobs.train --config configs/quickstart.json --out model
	@$(BENCH) benchmarks.generation model/bundle --samples 200000 --compared 20000
	@$(BENCH) benchmarks.opening --rows 200000 --memory-rows 50000 --batches 100 --rounds 1
	@$(BENCH) benchmarks.streaming --rows 200000 --memory-rows 100000
	@$(BENCH) benchmarks.many_trials --trials 40 --every 20

bench-full: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.ceilings
	@$(BIN)/python -m benchmarks.training_step
	@$(BIN)/python -m benchmarks.training_operators
	@$(BIN)/python -m benchmarks.model_cost
	@$(BIN)/python -m benchmarks.decoder_cost
	@$(BIN)/python -m benchmarks.search_throughput
	@$(BIN)/python -m benchmarks.data_parallel
	@$(BIN)/python -m benchmarks.scaling
	@$(BIN)/python -m jobs.train --config configs/quickstart.json --out build/bench-model
	@$(BIN)/python -m benchmarks.generation build/bench-model/bundle
	@$(BIN)/python -m benchmarks.opening
	@$(BIN)/python -m benchmarks.streaming
	@$(BIN)/python -m benchmarks.many_trials

clean:
	rm -rf $(VENV) build dist *.egg-info .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so that an interrupted set-up starts again.
$(VENV)/.created:
	@python=$$(for name in python3.11 python3; do \
	    if $$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then echo $$name; break; fi; \
	done); \
	if [ -z "$$python" ]; then \
	    echo "make: Python 3.11 is needed, but neither python3.11 nor python3 is it; install Python 3.11 and try again" >&2; \
	    exit 1; \
	fi; \
	echo "Creating $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)
	@touch $@

# The constraints fix torch's version. setuptools comes first because it builds the editable install.
$(VENV)/.search: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing torch into $(VENV): a large download the first time"
	@$(PIP_INSTALL) setuptools torch
	@echo "Installing hcvae with Ray Tune, Optuna and what the other commands of the README need into $(VENV)"
	@$(PIP_INSTALL) --no-build-isolation --editable '.[explore,formats,onnx,search]'
	@touch $@

$(VENV)/.dev: $(VENV)/.search
	@echo "Installing the tools of development into $(VENV)"
	@$(PIP_INSTALL) --no-build-isolation --editable '.[bench,explore,formats,onnx,search,dev]'
	@touch $@

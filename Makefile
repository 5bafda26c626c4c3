# Everything a person runs. Each target installs what it needs first; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NAB ?=
LABELLED ?=
LOGHUB ?=
NEZHA ?=
NODES ?= 1
KILLS ?= 200
SEED ?= 1
COUNT ?= 10000

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench schedules chaos kafka warmup schemas clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(STAMP) ## create .venv with pinned versions

demo: $(STAMP) ## embedded broker, real data, the real worker, a live table of episodes
	$(BIN)/detector demo

test: $(STAMP) ## format, types and every test, real Kafka included
	@$(MAKE) --no-print-directory lint & lint=$$!; \
	$(BIN)/detector warmup && wait $$lint # kernels once, before two processes need the same
	@others=$$(mktemp); echo "tests/kafka here, all others beside them and shown at the end"; \
	$(BIN)/pytest --ignore tests/kafka >$$others 2>&1 & beside=$$!; \
	$(BIN)/pytest tests/kafka; kafka=$$?; wait $$beside; rest=$$?; \
	cat $$others; rm -f $$others; exit $$((kafka || rest))

lint: $(STAMP) ## formatting, lint rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## apply formatting and safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## run the benchmarks and write benchmarks/README.md (NAB=, LABELLED=, LOGHUB=, NEZHA=: folders)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.report $(if $(NAB),--nab $(NAB)) $(if $(LABELLED),--labelled $(LABELLED)) \
		$(if $(LOGHUB),--loghub $(LOGHUB)) $(if $(NEZHA),--nezha $(NEZHA))

schedules: $(STAMP) ## ten thousand seeded schedules of exactly-once delivery, on the broker in memory (COUNT=, SEED=)
	$(BIN)/python -m tests.simulation.schedules --count $(COUNT) --seed $(SEED)

chaos: $(STAMP) ## long tests of failures, then 200 kills of workers and nodes of a real cluster (KILLS=, SEED=)
	$(BIN)/pytest -m chaos
	$(BIN)/python -m tests.kafka.chaos --kills $(KILLS) --seed $(SEED)

kafka: $(STAMP) ## a real Apache Kafka in the foreground, until Ctrl-C (NODES=3 for a cluster)
	$(BIN)/python -m tests.kafka.broker --nodes $(NODES)

warmup: $(STAMP) ## compile every kernel into the on-disk cache
	$(BIN)/detector warmup

schemas: $(STAMP) ## write schemas/ and docs/metrics.md from the code
	$(BIN)/python schemas/generate.py

clean: ## remove the virtual environments and caches
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/kafka/libs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The commands of this project. `make demo` and `make test` are all that a newcomer needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
KEEP ?=
CLIENT ?=
DB ?= sqlite
POSTGRES := $(filter postgres,$(DB))
SEED := $(or $(SEED),$(shell od -An -N3 -tu4 /dev/urandom | tr -d ' '))

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt chaos bench docs clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	$(PIP) install --quiet --upgrade 'pip==26.3'

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -e '.[all]' -c constraints.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --quiet -e '.[all]' --group dev -c constraints.txt
	@touch $@

setup: $(VENV)/.dev ## make .venv with everything that development needs

demo: $(VENV)/.runtime $(if $(POSTGRES),$(VENV)/.dev) ## an access log to 1,753 invoices, against the sandbox (KEEP=1 leaves it running; DB=postgres: two servers, two workers; CLIENT=1: by the client library)
	$(if $(and $(POSTGRES),$(KEEP)),$(error the PostgreSQL server of the demo ends with it: KEEP=1 goes with SQLite alone))
	$(if $(POSTGRES),$(BIN)/python -m tests.postgres_server )$(BIN)/tallystick demo $(if $(KEEP),--keep) $(if $(CLIENT),--client) $(if $(POSTGRES),--database-url '{url}')

test: $(VENV)/.dev ## every test (SEED=n repeats what was chosen at random)
	SEED=$(SEED) $(BIN)/python -m pytest -n auto --hypothesis-seed=$(SEED) --randomly-seed=$(SEED)

check: $(VENV)/.dev ## format, lint, types, layers
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/lint-imports
	$(BIN)/mypy

fmt: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix-only --quiet src tests
	$(BIN)/ruff format src tests

chaos: $(VENV)/.dev ## MINUTES=30: kills and a failing Stripe; KILLS=200: kills under load; SEED=n repeats; DB=postgres
	$(if $(POSTGRES),$(BIN)/python -m tests.postgres_server )$(BIN)/python -m $(if $(or $(MINUTES),$(POSTGRES)),tests.chaos --minutes $(or $(MINUTES),1),tests.crash.chaos) $(if $(KILLS),--kills $(KILLS)) --seed $(SEED) $(if $(POSTGRES),--postgres '{url}')

bench: $(VENV)/.dev ## measure, print a table and write build/bench.json
	$(BIN)/python -m tests.bench

docs: $(VENV)/.dev ## rewrite the generated parts of the docs
	$(BIN)/python -m tests.docs.generate

clean: ## remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

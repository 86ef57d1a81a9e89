# Two commands matter: `make demo` and `make test`. Each sets up what it needs, in a virtual
# environment of its own; nothing is installed outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A policy scanner that pins its own versions of everything; tests without it skip the scan.
TOOLS := .venv-tools
CHECKOV := checkov==3.3.30
SCANNER := $(TOOLS)/.$(CHECKOV)

.PHONY: demo test format check goldens bench clean

# On the server that comes along, whatever REDIS_URL says in this shell.
demo: export REDIS_URL :=
demo: $(INSTALLED)
	$(BIN)/python topologies/stdlib-index/enqueue_walk.py
	$(BIN)/bananas up --drain topologies/stdlib-index/topology.yaml
	@$(BIN)/python topologies/stdlib-index/show_report.py

test: check $(SCANNER)
	$(BIN)/pytest -n auto

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Rewrites generated files, to be read in review: what topologies render to, what is imported, the
# settings in the published schema, and the README's tables.
goldens: $(INSTALLED)
	UPDATE_GOLDENS=1 $(BIN)/pytest -q tests/render tests/importer tests/spec \
	  tests/test_readme.py -k "golden or person_would_have_written or tables or published_schema"

# Ours against the peers: benchmarks/README.md. A part of it, which leaves the results that are in the
# repository alone: make bench ONLY=bananas,huey SCENARIOS=drain,enqueue RUNS=1 KILL_SECONDS=120
BENCH := .venv-bench
OUT ?= $(if $(AGAIN),benchmarks,$(if $(ONLY)$(SCENARIOS),$(BENCH)/results,benchmarks))

bench: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks --out $(OUT) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(RUNS),--runs $(RUNS)) \
	  $(if $(KILL_SECONDS),--kill-seconds $(KILL_SECONDS)) $(if $(AGAIN),--again)

$(BENCH)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# Installed anew only when the project's dependencies change, so that both commands work without
# a network after the first time.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Bananas needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(SCANNER):
	-$(PYTHON) -m venv $(TOOLS) && \
	  $(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check $(CHECKOV) && touch $@

clean:
	rm -rf $(VENV) $(TOOLS) $(BENCH) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# Two commands matter: `make demo` and `make test`. Both install what they need into a virtual
# environment in this folder, and nothing outside of it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A policy scanner that pins the versions of its dependencies, hence an environment of its own.
# Tests skip the scan if it is missing.
TOOLS := .venv-tools
CHECKOV := checkov==3.3.30
SCANNER := $(TOOLS)/.$(CHECKOV)
# What checks the page's accessibility in a browser. Tests skip the check if it is missing.
AXE := axe-core@4.14.1
ACCESSIBILITY := $(TOOLS)/.$(AXE)

.PHONY: demo test format check docs goldens picture bench clean

# On the bundled server, even if REDIS_URL is set in this shell.
demo: export REDIS_URL :=
demo: $(INSTALLED)
	$(BIN)/python topologies/stdlib-index/enqueue_walk.py
	$(BIN)/bananas up --drain topologies/stdlib-index/topology.yaml
	@$(BIN)/python topologies/stdlib-index/show_report.py

# Tests mostly wait for processes and for the server: two at a time keep a core busy.
test: check $(SCANNER) $(ACCESSIBILITY)
	$(BIN)/pytest -n $$($(BIN)/python -c 'import os; print(2 * (os.cpu_count() or 1))')

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation as a site in site/. The tests build it too.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Rewrite the generated parts of the repository: rendered and imported files, the settings in the
# published schema, and what the documentation takes from the code. Read the diff.
goldens: $(INSTALLED)
	UPDATE_GOLDENS=1 $(BIN)/pytest -q tests/spec -k published_schema
	UPDATE_GOLDENS=1 $(BIN)/pytest -q tests/render tests/importer tests/docs/test_generated.py \
	  -k "golden or person_would_have_written or generated"

# The picture of the page in README.md, after MINUTES under load.
MINUTES ?= 60

picture: $(INSTALLED)
	$(BIN)/python -m tests.page.picture docs/images/page.png --minutes $(MINUTES)

# Bananas beside its peers: benchmarks/README.md. A partial run does not touch the results in the
# repository: make bench ONLY=bananas,huey SCENARIOS=drain,enqueue RUNS=1 KILL_SECONDS=120
BENCH := .venv-bench
OUT ?= $(if $(AGAIN),benchmarks,$(if $(ONLY)$(SCENARIOS),$(BENCH)/results,benchmarks))

bench: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks --out $(OUT) $(if $(ONLY),--only $(ONLY)) \
	  $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(RUNS),--runs $(RUNS)) \
	  $(if $(KILL_SECONDS),--kill-seconds $(KILL_SECONDS)) $(if $(AGAIN),--again)

$(BENCH)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[api]'
	@touch $@

# Repeated only when the project's dependencies change, so that everything works without a network
# after the first run.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Bananas needs Python 3.11 or newer, such as: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(SCANNER):
	-$(PYTHON) -m venv $(TOOLS) && \
	  $(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check $(CHECKOV) && touch $@

$(ACCESSIBILITY):
	-npm install --prefix $(TOOLS) --no-save --no-audit --no-fund --ignore-scripts --silent $(AXE) \
	  && touch $@

clean:
	rm -rf $(VENV) $(TOOLS) $(BENCH) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist site

# Two commands on a fresh machine: make demo, make test. The rest is for developers.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
FOR ?= 60s
SERVERS = mosquitto victoria-metrics
PYTEST = $(BIN)/python -m pytest
export PATH := $(PATH):/usr/sbin

.PHONY: demo test soak check bench fmt venv servers

demo: $(STAMP)
	$(BIN)/davy demo --for $(FOR)

test: check servers
	$(PYTEST) tests/unit tests/contract tests/property -n 2 -m "not soak"
	$(PYTEST) tests/fault tests/e2e -n 2 -m "not soak"

# The long form: kill loops, deep properties. Under 60 minutes.
soak: $(STAMP) servers
	HYPOTHESIS_PROFILE=soak $(PYTEST) tests/property -n 2 --timeout 1800
	DAVY_SOAK=1 $(PYTEST) tests/fault tests/e2e -m "soak or process" --timeout 3000 -s

check: $(STAMP)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	$(BIN)/pyright --warnings

bench: $(STAMP) servers
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

fmt: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: $(STAMP)

$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Davy needs Python 3.11 or newer. Debian 12: apt install python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing. Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# The real servers that tests talk to: installed when root, else the one command is named.
servers:
	@missing=""; for name in $(SERVERS); do command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -q >/dev/null && apt-get install -q -y --no-install-recommends $$missing >/dev/null; \
	  else echo "The tests need servers. Run: sudo apt install -y --no-install-recommends$$missing"; exit 1; fi; \
	fi

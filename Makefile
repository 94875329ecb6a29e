# Two commands: `make demo` sets everything up and plays a day at a small hospital; `make test` sets everything up and
# passes the tests. `make demo ONCE=1` ends by itself and tells by its exit status whether the day went right.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
STAMP := $(VENV)/.ready

.PHONY: demo test test-full check setup clean

demo: setup
	@$(BIN)/bridge sandbox day --folder demo --viewer .cache/viewer $(if $(ONCE),--once,)

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py .ci/constraints.txt
	@echo "→ Python environment ($(VENV)) ..."
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[sandbox,test,postgresql]' \
		| awk '/^Collecting|^Installing/ {printf "\r  %d packages found%s", n += /^Collecting/, /^Inst/ ? ", installing ...\n" : ""; fflush()}'
	@touch $@
	@echo "✓ Python environment"

# What tests need and this machine lacks is installed here; a missing peer is a loud skip, and a failure under CI.
test: setup
	@tests/peers/install.sh
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Load, hundreds of kills, soak: by hand; the result file is committed under docs/results/.
test-full: setup
	@tests/peers/install.sh
	@$(BIN)/python -m pytest --full tests

clean:
	rm -rf $(VENV) demo artifacts .cache build dist

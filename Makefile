# `make` prints what there is. Targets that need the virtual environment make it first, once.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

# The first interpreter that is new enough and can make virtual environments.
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
NAMES := python3.11 python3 python3.12 python3.13 python3.14 python
FIND_PYTHON = for name in $(NAMES); do \
	$$name -c '$(SUITABLE)' 2>/dev/null && { command -v $$name; break; }; done
PYTHON ?= $(shell $(FIND_PYTHON))

# An environment that was moved or copied with the folder, or whose interpreter is gone, still
# points to the old place. It counts as not there.
ifneq ($(shell $(BIN)/python -c pass 2>/dev/null && cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help
help: ## print the targets
	@echo 'make <target> [ARGS="..."]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
	    | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'

.PHONY: run
run: $(STAMP) ## start a hub with its own Valkey (ARGS go to `lifesigns serve`)
	@exec $(BIN)/lifesigns serve $(ARGS)

# Most tests wait for a server rather than for the processor: four at a time share even two cores.
.PHONY: test
test: $(STAMP) browser ## run the tests (ARGS go to pytest)
	@$(BIN)/python -m pytest --numprocesses 4 $(ARGS)

# The dashboard is tested in the distribution's Chromium; another machine brings its own.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	    [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null \
	        || { echo 'test: needs chromium; on Debian: apt-get install chromium' >&2; exit 1; }; \
	    echo 'Installing chromium, in which the dashboard is tested.'; \
	    export DEBIAN_FRONTEND=noninteractive; apt-get update --quiet --quiet \
	        && apt-get install --quiet --quiet --yes --no-install-recommends chromium; }

.PHONY: test-redis
test-redis: $(STAMP) ## run the tests against the redis-server of this machine (ARGS go to pytest)
	@server=$$(command -v redis-server) \
	    || { echo 'test-redis: there is no redis-server on this machine' >&2; exit 1; }; \
	$$server --version; \
	LIFESIGNS_TEST_SERVER=$$server $(BIN)/python -m pytest --numprocesses 4 $(ARGS)

SEED ?= 1
MINUTES ?= 10

.PHONY: chaos
chaos: $(STAMP) ## break hubs, store and network at random (SEED=1 MINUTES=10; ARGS="--help")
	@$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES) $(ARGS)

# Without the fixtures of the suite: the look at the sources needs none of them.
.PHONY: check
check: $(STAMP) ## lint, format, types and the rules of the house; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --noconftest --quiet tests/test_architecture.py

.PHONY: fix
fix: $(STAMP) ## let ruff repair and format what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(STAMP) ## run every benchmark in turn (ARGS go to each)
	@set -e; for bench in benchmarks/bench_*.py; do \
	    echo "== $$bench"; $(BIN)/python $$bench $(ARGS); done

.PHONY: docs
docs: $(STAMP) ## write a reference page of every module to build/docs
	@rm -rf build/docs && mkdir -p build/docs
	@cd build/docs && ../../$(BIN)/python -m pydoc -w ../../src/
	@echo 'see build/docs/lifesigns.html'

.PHONY: image
image: ## build the container image lifesigns (ARGS go to docker build)
	docker build --tag lifesigns $(ARGS) .

.PHONY: clean
clean: ## remove what the other targets made, the virtual environment too; never a hub's data
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Says which interpreter the set-up takes; CI asks before it installs one.
.PHONY: python
python:
	@test -n '$(PYTHON)' || { echo 'No Python 3.11 or newer that can make virtual environments;' \
	    'on Debian and Ubuntu: apt install python3 python3-venv' >&2; exit 1; }
	@echo '$(PYTHON)'

$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --silent python >/dev/null
	@echo 'Setting up .venv, once; this takes about a minute.'
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[hub,dev]'
	@echo '$(CURDIR)' > $@

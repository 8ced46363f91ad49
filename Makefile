# Everything runs in .venv, made here from the lock files: only Python 3.11 or newer, pip and make need be there.
# uv installs the packages; where it is not on the PATH it comes into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = uv=$$(command -v uv || echo $(BIN)/uv); $$uv pip install --python $(BIN)/python
# A file's tests run one after the other, since they share what they set up; ARGS=-n0 runs all so, as debuggers need it.
TOGETHER = -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
COMPILE = uv=$$(command -v uv || echo $(BIN)/uv); $$uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help bench bench-full demo kafka test lint test-integration test-nightly test-faults test-unpinned bench-serving bench-detection bench-dashboard bench-check bench-peers bench-scale bench-tail test-soak docs screenshots lock clean

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## Run the whole story on real flights; options in ARGS, as in make demo ARGS="--days 3"
	@exec $(BIN)/birdwatch demo $(ARGS)

kafka: $(VENV)/.dev  ## Start a Kafka broker to try things on, until Ctrl-C; needs Java 17 and Maven
	@exec $(BIN)/python tests/integration/kafka_broker.py

test: lint  ## Check the code and run the unit tests; options for pytest in ARGS
	$(BIN)/pytest -m "not integration and not e2e" $(TOGETHER) $(ARGS)

lint: $(VENV)/.dev  ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test-integration: $(VENV)/.dev  ## Run the tests that need real servers, processes and a browser
	@for tool in buildah chromium debootstrap java kcat mvn prometheus prometheus-alertmanager; do \
		command -v $$tool > /dev/null || echo "$$tool is not there: the tests that need it are skipped (.ci/run installs it)"; \
	done
	$(BIN)/pytest -m "(integration or e2e) and not soak" $(TOGETHER) $(ARGS)

test-nightly: $(VENV)/.dev  ## Kill the processes of the pipeline at fifty random moments
	BIRDWATCH_KILLS=50 $(BIN)/pytest tests/integration/test_behaviours.py tests/integration/test_archive_crash.py -k "test_17 or kills" $(ARGS)

test-faults: $(VENV)/.dev  ## Break everything, long and often (three hours), and write what came of it into docs/reliability.md
	BIRDWATCH_FAULTS=nightly $(BIN)/pytest -m faults -o faulthandler_timeout=7200 $(ARGS)

test-soak: $(VENV)/.dev  ## Look at a live page for half an hour while its store grows: memory stays flat
	$(BIN)/pytest -m soak -s -o faulthandler_timeout=7200 $(ARGS)

test-unpinned: $(VENV)/.dev  ## Install the newest of everything, as a user would, and import every module
	rm -rf $(VENV)-unpinned && $(PYTHON) -m venv --without-pip $(VENV)-unpinned
	$(BIN)/uv pip install --quiet --python $(VENV)-unpinned/bin/python '.[all]'
	$(VENV)-unpinned/bin/python -I .ci/import_every_module.py
	rm -rf $(VENV)-unpinned

bench-serving: $(VENV)/.dev  ## Measure the speed of serving; options in ARGS, as in make bench-serving ARGS="--kafka"
	@$(BIN)/python benchmarks/serving $(ARGS)

bench-detection: $(VENV)/.dev  ## Measure how soon a change is found, and how often none is: ten minutes, two with ARGS=--quick
	@$(BIN)/python -m benchmarks.detection $(ARGS)

bench-dashboard: $(VENV)/.dev  ## Measure how fast pages open and refresh over a hundred models; needs Chromium and 2 GB; options in ARGS
	@$(BIN)/python -m benchmarks.dashboard $(ARGS)

bench-check: $(VENV)/.dev  ## Measure how fast the gate starts, and answers over ten million pairs: three minutes; options in ARGS
	@$(BIN)/python -m benchmarks.check $(ARGS)

bench: $(VENV)/.dev  ## Measure all that has a bound in its short form: a quarter of an hour; the figures are kept in run/bench
	@mkdir -p run/bench
	@$(BIN)/python benchmarks/serving --json run/bench/serving.json
	@$(BIN)/python -m benchmarks.detection --quick --json run/bench/detection.json
	@$(BIN)/python -m benchmarks.check --json run/bench/check.json
	@$(BIN)/python -m benchmarks.tail --json run/bench/tail.json
	@$(BIN)/python -m benchmarks.scale --quick --json run/bench/scale.json
	@$(BIN)/python -m benchmarks.peers --scores 1000000 --most-seconds 30 --json run/bench/peers.json

bench-full: bench  ## Measure the rest as well: two hours
	@$(BIN)/python benchmarks/serving --kafka
	@$(BIN)/python -m benchmarks.detection
	@$(BIN)/python -m benchmarks.dashboard
	@$(BIN)/python -m benchmarks.check --days 7
	@$(BIN)/python -m benchmarks.scale --full
	@$(BIN)/python -m benchmarks.peers --scores 10000000

bench-peers: $(VENV)/.dev  ## Measure KS and PSI beside other libraries, each in an environment of its own (3 GB); options in ARGS
	@$(BIN)/python -m benchmarks.peers $(ARGS)

bench-tail: $(VENV)/.dev  ## Measure how fast the tail counts, from Kafka, SQLite and files: six minutes; needs Java and Maven; options in ARGS
	@$(BIN)/python -m benchmarks.tail $(ARGS)

bench-scale: $(VENV)/.dev  ## Measure what grows with events, models, segments, days and tails: ten minutes; needs Java and Maven; options in ARGS
	@$(BIN)/python -m benchmarks.scale $(ARGS)

docs: $(VENV)/.dev  ## Write the reference from the code
	$(BIN)/python docs/generate.py

screenshots: $(VENV)/.dev  ## Take the pictures of the dashboard that the guides show; needs Chromium; options in ARGS
	@$(BIN)/python docs/screenshots.py $(ARGS)

lock: $(BIN)/python  ## Choose versions anew where pyproject.toml asks for it; make lock ARGS=--upgrade: everywhere
	@$(COMPILE) $(ARGS) --all-extras --group dev --output-file requirements.lock pyproject.toml
	@$(COMPILE) $(ARGS) --extra demo --constraint requirements.lock --no-annotate --output-file requirements-demo.lock pyproject.toml

clean:  ## Remove what was made
	rm -rf $(VENV) $(VENV)-unpinned dist run .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/it"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv --without-pip $(VENV)
	@command -v uv > /dev/null || $(PYTHON) -m pip --python $(BIN)/python install --quiet uv

$(VENV)/.demo: requirements-demo.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the demo needs, about 70 packages: a minute or two the first time ..."
	@$(INSTALL) --no-deps --requirement requirements-demo.lock --editable .
	@touch $@

$(VENV)/.dev: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need ..."
	@$(INSTALL) --quiet --no-deps --requirement requirements.lock --editable .
	@touch $@

# Everything a newcomer types. Needs make and Python 3.11, 3.12 or 3.13; each target sets up what it lacks and says so.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready

# Never let the caller's environment reach into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

# The first interpreter that is new enough, has wheels for every locked package, and can make a virtual environment.
FIND_PYTHON = for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& { command -v "$$p"; break; }; done

say = @printf '\033[1m==> %s\033[0m\n' '$(1)'
present = $(strip $(foreach folder,$(1),$(if $(wildcard $(folder)/test_*.py $(folder)/*/test_*.py),$(folder))))

QUICK := $(call present,tests/unit tests/property tests/replay)
REAL := $(call present,tests/integration)
CHAOS := $(call present,tests/chaos)
# Two at once, on however many cores: much of a test on a real Kafka is waiting. Each has a Kafka of its own.
PARALLEL := -n 2

.PHONY: demo-canary demo-k8s test-targets test-loop chaos-targets test-secure test-containers help setup demo simulate up down check test test-quick test-real chaos chaos-long test-browser bench format generate lock clean

help: ## Show this help
	@printf 'usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nA first look: make demo. Then: make up, and .venv/bin/autopilot --help.\n'

setup: $(READY) ## Make .venv with every locked dependency and this project in it
	$(call say,ready: $(BIN)/autopilot)

demo: $(READY) ## Watch three real incidents on a real Kafka: repaired, approved, left alone
	$(call say,demo: three incidents in the shop (the first run fetches Apache Kafka))
	@$(BIN)/python -m examples.shop.demo

demo-canary: $(READY) ## Two releases behind HAProxy under load: a bad one is stopped at 5 %, a good one goes through (Debian)
	$(call say,demo-canary: supervisord and HAProxy - a bad release and a good one - every request counted)
	@$(BIN)/python -m examples.canary.demo

demo-k8s: $(READY) ## Five incidents on a real Kubernetes, among them a remedy that is rejected and taken back (Debian, root, Go)
	$(call say,demo-k8s: the loop on a cluster of one node (the first run builds Kubernetes from Go modules: minutes))
	@$(BIN)/python -m examples.kubernetes.demo

simulate: $(READY) ## The five agents over a real day of faults: report and plots in build/simulation, no Kafka
	$(call say,simulate: four hours of Online Boutique with 24 injected faults)
	@$(BIN)/autopilot simulate --name online-boutique --out build/simulation $(foreach part,telemetry.parquet config labels.csv,--$(basename $(part)) examples/historical/online-boutique/$(part))

up: $(READY) ## Start the platform: Kafka, registry, agents, effector, bridges
	@$(BIN)/autopilot up

down: $(READY) ## Stop the platform; its data stay
	@$(BIN)/autopilot down

check: $(READY) ## Format, lint, types, import contracts, schemas, documentation; warnings are errors
	$(call say,format)
	@$(BIN)/ruff format --check .
	$(call say,lint)
	@$(BIN)/ruff check .
	$(call say,types)
	@$(BIN)/mypy
	$(call say,import contracts)
	@$(BIN)/lint-imports --no-cache
	$(call say,schemas: in sync and compatible with every release)
	@$(BIN)/python -W error -m autopilot.infra.cli.schemas check
	$(call say,house rules: packages - locks - sizes - links of the documentation)
	@$(BIN)/pytest -q tests/unit/test_house.py tests/unit/test_documentation.py
	$(call say,all checks passed)

test: test-quick test-real chaos ## Quick tests, then those on a real Kafka, then chaos
	$(call say,all tests passed)

test-quick: $(READY) ## Unit and property tests; seconds, no network
	$(call say,quick tests: $(QUICK))
	@$(BIN)/pytest $(PARALLEL) --dist worksteal $(QUICK)

test-real: $(READY) ## Tests on a real Kafka
	$(call say,real tests: $(REAL))
	@$(if $(REAL),$(BIN)/pytest $(PARALLEL) --dist loadfile $(REAL),echo 'none in this version')

test-targets: $(READY) ## Every driver at its real target: conformance, crash points (ARGS=--all for every verb; builds what it lacks)
	$(call say,targets: each driver at the real thing; what is missing is installed or built once)
	@PYTHON=$(abspath $(BIN)/python) infra/targets/prepare.sh
	@$(BIN)/pytest -v -n 3 --dist loadscope $(ARGS) tests/targets --ignore tests/targets/loop

test-loop: $(READY) ## The whole loop at real targets: a canary under live load; effector and executor killed at random, shortly
	$(call say,the loop at real targets: a canary with every request counted - kills at random)
	@PYTHON=$(abspath $(BIN)/python) infra/targets/prepare.sh
	@$(BIN)/pytest -v -n 2 --dist loadscope tests/targets/loop

chaos-targets: $(READY) ## Effector and executor killed at random through 300 actions at real targets (REAL_ACTIONS=N for another number)
	$(call say,targets under fire: each effect once by the target history - or honestly unknown)
	@REAL_ACTIONS=$(or $(REAL_ACTIONS),300) $(BIN)/pytest -s tests/targets/loop/test_real_actions.py

test-secure: $(READY) ## The same Kafka with TLS, a password for each process and access control lists (minutes; CI runs it)
	$(call say,secure: who may do what - the whole loop - rotation)
	@$(BIN)/pytest tests/secure

chaos: $(READY) ## Tests that kill processes while incidents flow
	$(call say,chaos: $(CHAOS))
	@$(if $(CHAOS),$(BIN)/pytest -s $(CHAOS),echo 'none in this version')

chaos-long: $(READY) ## The same for a long time: 2,000 incidents, 60 kills, two restarts of the broker
	$(call say,chaos: 2,000 incidents - 60 kills - 2 broker restarts)
	@CHAOS_INCIDENTS=2000 CHAOS_KILLS=60 CHAOS_BROKER_RESTARTS=2 $(BIN)/pytest -s tests/chaos

test-browser: $(READY) ## Tests of the web page in a real Chromium (Debian: installed by apt where it may be)
	$(call say,the page in a browser)
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		echo 'no Chromium: installing it by apt'; apt-get update -qq && apt-get install -y -qq chromium; }
	@$(BIN)/pytest tests/browser

CONTAINERS := infra/docker/podman-setup.sh
ON_KAFKA := test_worker or test_platform_kafka or test_platform_registry or test_sealer or test_otlp

test-containers: $(READY) ## Tests in containers on Podman's socket (Debian, root): images made here, testcontainers, compose
	$(call say,containers 1/4: Podman)
	@$(CONTAINERS) install
	$(call say,containers 2/4: images; the first time takes some minutes)
	@PYTHON=$(BIN)/python $(CONTAINERS) with infra/docker/build-images.sh
	$(call say,containers 3/4: docker-compose.yml)
	@$(CONTAINERS) with $(BIN)/pytest -v tests/containers
	$(call say,containers 4/4: tests on a Kafka that testcontainers runs: $(ON_KAFKA))
	@TEST_KAFKA=container $(CONTAINERS) with $(BIN)/pytest -v tests/integration -k '$(ON_KAFKA)'
	$(call say,all tests in containers passed)

bench: $(READY) ## Benchmarks, beside Faust and raw confluent-kafka on the same records
	$(call say,benchmarks)
	@PYTHONPATH=tests/unit $(BIN)/python -m bench

format: $(READY) ## Format the code and apply the safe fixes of the linter
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

generate: $(READY) ## Write what is made from code: Avro schemas and pages of the documentation
	@$(BIN)/python -m autopilot.infra.cli.schemas generate
	@$(BIN)/python -m autopilot.infra.cli.schemas docs

# Pins are kept where they still fit; `make lock UPGRADE=1` takes the newest of everything.
COMPILE = env -u UV_FIND_LINKS -u PIP_FIND_LINKS $(UV) pip compile --quiet pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --no-config \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

lock: $(VENV)/.uv ## Resolve the dependencies again (UPGRADE=1 for the newest) and write the hashed locks
	$(call say,resolving)
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	@printf 'uv\n' | $(subst pyproject.toml,-,$(COMPILE)) --output-file requirements-uv.lock
	$(call say,locked: now make setup)

clean: ## Remove .venv and everything that tools left behind (never the data of the platform)
	$(call say,removing $(VENV) and caches and build products)
	@rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# -- the virtual environment ------------------------------------------------------------------------------------------

$(VENV)/.uv: requirements-uv.lock
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo 'No Python 3.11, 3.12 or 3.13 with venv and ensurepip was found; name one: make PYTHON=/path/to/python3.11' >&2; \
		exit 1; fi; \
	printf '\033[1m==> virtual environment: %s with %s\033[0m\n' '$(VENV)' "$$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-uv.lock
	@touch $@

$(VENV)/.locked: requirements-dev.lock $(VENV)/.uv
	$(call say,dependencies: the hashed lock of $(shell grep -c == requirements-dev.lock) packages)
	@$(UV) pip install --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

$(READY): pyproject.toml $(VENV)/.locked
	$(call say,project: installed in place as autopilot.*)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Every target does all the set-up it needs. Nothing is written outside this folder and the tools' own caches.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := setup
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.lock)
export PYTHONPATH := tests
# Else each of the many processes of a test run would compile everything that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo picture test test-tools e2e-argocd e2e-pods chaos chaos-processes soak fuzz bench check controlplane tools generate manifests lock clean help

setup: .venv/ready ## make .venv with the console scripts

.venv/ready: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## the main job on a real Kubernetes and a simulated platform, to watch
	@$(BIN)/python -m demo

picture: setup ## docs/images/demo.svg, from the demo as it runs
	@$(BIN)/python -m demo --picture docs/images/demo.svg

bench: setup ## what it costs, beside what a team would use instead; N=1000,10000 ROUNDS=3 PEERS=plain,limit,same
	@$(BIN)/python -m bench run --sizes=$(or $(N),1000) --rounds=$(or $(ROUNDS),3) \
		$(if $(PEERS),--peers=$(PEERS)) $(BENCH_ARGS)

# In the order of their names: what is short comes last, and fills the gaps. Most tests wait more than they compute.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder

test: check controlplane tools ## all tests of the product, on the same real control plane
	@$(PYTEST) -m "not tools" $(PYTEST_ARGS)

test-tools: controlplane tools ## the tests of what the tests, the demo and the bench are made with
	@$(PYTEST) -m tools $(PYTEST_ARGS)

e2e-argocd: controlplane ## a real Argo CD beside the operator; builds it once, in about 10 minutes
	@$(BIN)/python -m argocd.binaries
	@$(BIN)/python -m pytest tests/integration/argocd $(PYTEST_ARGS)

e2e-pods: controlplane ## the image and the chart in real pods, by kind or as root on a Debian; 3 minutes, and 3 more at first
	@$(BIN)/python -m pods $(PYTEST_ARGS)

chaos: setup ## seeded faults, crashes and edits of both sides, until something breaks; SECONDS=, SEED=, STEPS=, SHARDS=, TRACE=1
	@PYTHONHASHSEED=0 $(BIN)/python -m chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(STEPS),--steps $(STEPS)) $(if $(SHARDS),--shards $(SHARDS)) $(if $(TRACE),--trace)

chaos-processes: controlplane ## etcd, API server, platform and operators killed, stopped and cut off; SECONDS=, SEED=, FAULTS=, FIRST=, INTERVAL=, SHARDS=
	@$(BIN)/python -m chaos.processes $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(FIRST),--first $(FIRST)) $(if $(INTERVAL),--interval $(INTERVAL)) \
		$(if $(SHARDS),--shards $(SHARDS))

soak: setup ## one operator with something always going on, for an hour: does what it holds grow? SECONDS=, SEED=
	@$(BIN)/python -m bench.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(SOAK_ARGS)

fuzz: setup ## hostile input to each part, to the whole operator, and to a cluster; SECONDS=, SEED=, TARGET=, MANIFESTS=1000
	@$(BIN)/python -m hostile $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(TARGET),--target $(TARGET))
	@$(if $(MANIFESTS),HOSTILE_MANIFESTS=$(MANIFESTS) $(BIN)/python -m pytest -q tests/integration/test_hostile.py)

check: setup ## format, lint, types, architecture
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

format: setup ## put the code into the one format
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

controlplane: setup ## find or build kube-apiserver, etcd and kubectl; prints the folder
	@$(BIN)/python -m controlplane

tools: setup ## find or build helm, kubeconform, kube-score and promtool; prints where they are
	@$(BIN)/python -m controlplane.tools

generate: setup ## the CRD and docs/reference.md from the models, and what is made for Helm, Grafana and Argo CD
	@$(BIN)/python -m helmchart generate
	@$(BIN)/python -m inferencekey_operator.crd.reference > docs/reference.md
	@$(BIN)/python -m charts.dashboard > charts/inferencekey-operator/files/dashboard.json
	@$(BIN)/python -m argocd.testdata

manifests: generate ## manifests/install.yaml from the chart
	@$(BIN)/python -m helmchart manifests

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url

lock: ## pin the newest versions that pyproject.toml allows
	@$(LOCK) --group dev pyproject.toml --output-file requirements.lock
	@$(LOCK) --constraint requirements.lock pyproject.toml --output-file requirements-run.lock
	@$(LOCK) --constraint requirements.lock --group build --output-file requirements-build.lock

clean: ## remove what the targets above made here
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

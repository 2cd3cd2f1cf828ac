# make bench and make test are all that most people need; both make their virtual environment first.
VENV ?= .venv
PYTHON ?= # default: of the existing environment, else python3
BACKEND ?= # default: of the existing environment, else what this machine has; or cpu, cuda12, cuda13, rocm7, tpu, newest
DATA ?= data
PEER_PYTHON ?= python3.11 # TensorFlow 2.15 has no later one

PY := $(VENV)/bin/python
# Compiling tiny programs keeps one core busy; more than four workers take much memory.
# One that dies, or whose test hangs, ends the tests: another would try the same again.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0
export VENV PYTHON BACKEND
# What runs is the environment's, not what a site's modules put before it; and programs that tests
# start are not compiled anew each time.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONDONTWRITEBYTECODE

.PHONY: help venv venv-test bench bench-regression test lint test-slow dataset image image-cuda sif peers lock clean

help:
	@echo 'make bench      trains and infers on this machine and prints its throughput'
	@echo 'make bench-regression  tests whether this is slower than the start of the branch [BASE=REV] [INJECT=0.15]'
	@echo 'make test       format, lint, types and the tests, with runs of the smoke preset'
	@echo 'make test-slow  the long tests'
	@echo 'make dataset    the 2000 + 200 events of flags/hepscore.cfg, into $(DATA)/'
	@echo 'make image      the container image of the HEPscore workload; image-cuda, for GPUs; sif, for Apptainer'
	@echo 'make peers      the same graph in PyTorch and TensorFlow, each in its environment, verified [PEER_PYTHON=...]'
	@echo 'make venv       the virtual environment $(VENV) alone [PYTHON=python3.12] [BACKEND=cuda12]'
	@echo 'make lock       locks/*.txt from pyproject.toml [UPGRADE=1]'
	@echo 'make clean      removes $(VENV), caches and builds; data and results stay'

venv:
	@tools/venv.sh

venv-test:
	@tools/venv.sh test

bench: venv
	$(PY) -m mlpf_jax.main

# Exit status of the tool: 1 is a regression. docs/regression.md has its other flags, for REGRESS_FLAGS.
bench-regression: venv
	$(PY) -m tools.regress $(if $(BASE),--base=$(BASE)) $(if $(INJECT),--inject=$(INJECT)) $(REGRESS_FLAGS)

test: lint
	$(PY) -m pytest -q -m 'not slow' $(WORKERS) -o faulthandler_timeout=300

lint: venv-test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyrefly check --python-interpreter-path=$(PY)

test-slow: venv-test
	$(PY) -m pytest -q -m slow $(WORKERS) --no-loadscope-reorder

dataset: venv
	$(PY) -m tools.make_dataset --process=ttbar --events=2000 --seed=1 --out=$(DATA)/ttbar
	$(PY) -m tools.make_dataset --process=qcd --events=200 --seed=1 --out=$(DATA)/qcd

# ENGINE=, BASE= and others: tools/container/build.
image:
	tools/container/build cpu

image-cuda:
	tools/container/build cuda

# Of IMAGE, an image that podman or docker has: make sif IMAGE=localhost/mlpf-jax-bmk:v0.1.0
sif:
	tools/container/build_sif $(IMAGE)

peers: venv
	PEER_PYTHON=$(PEER_PYTHON) benchmarks/peers/venv.sh pytorch tensorflow
	$(PY) -m benchmarks.peers.prove

lock: venv-test
	UV=$(VENV)/bin/uv tools/lock.sh $(if $(UPGRADE),--upgrade)

clean:
	rm -rf $(VENV) build dist .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Every target sets up what it needs. The package index is the one that pip is configured for.
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest

# Noah starts several times faster from compiled modules.
unexport PYTHONDONTWRITEBYTECODE

demo: $(READY)  ## a guest shell runs `cat FILE | grep WORD`: three processes, shown call by call
	@$(BIN)/python tools/demo.py

test: $(READY) build-tools  ## the quick tests (under 10 minutes)
	@$(PYTEST) -q -m "not slow and not fuzz and not svm and not suites and not stress"

check: $(READY) build-tools  ## form and types (under a minute)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --platform linux --cache-dir .mypy_cache/linux
	@$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin src
	@$(PYTEST) -q -m check

test-slow: $(READY) build-tools  ## the tests that take long
	@tools/setup.sh need umoci skopeo docker-registry htpasswd
	@$(PYTEST) -q -m "slow and not svm" --timeout 1800 -o faulthandler_timeout=1700

test-svm: $(READY) build-tools  ## the KVM engine on a KVM with hardware semantics, in an emulated machine
	@tools/setup.sh need qemu-system-x86_64
	@$(PYTEST) -q -m svm --timeout 1800 -o faulthandler_timeout=1200 tests/svm

test-suites: $(READY) build-tools  ## the test suites of CPython and Go as guests, compared with their native runs (an hour)
	@tools/setup.sh need mmdebstrap
	@$(PYTEST) -q -m suites --timeout 3600 -o faulthandler_timeout=3500

test-stress: $(READY)  ## stress-ng's stressors as guests, compared with their native runs (half an hour)
	@tools/setup.sh need stress-ng
	@$(PYTEST) -q -m stress

test-servers: $(READY) build-tools  ## servers under load, compared with their native runs (15 minutes)
	@tools/setup.sh need mmdebstrap
	@$(PYTEST) -q -m slow --timeout 900 -o faulthandler_timeout=800 tests/servers

fuzz: $(READY) build-tools  ## random system calls
	@$(PYTEST) -q -m fuzz --timeout 7200 -o faulthandler_timeout=7000

bench-servers: $(READY)  ## servers natively and in Noah, side by side (ARGS="--root DIR --rows nginx")
	@$(BIN)/python bench/servers.py $(ARGS)

bench: $(READY) build-tools  ## the workloads natively and in Noah, side by side (ARGS="--rows getppid,stat")
	@$(BIN)/python bench/run.py $(ARGS)

build-tools:
	@tools/setup.sh need gcc libc6-dev aarch64-linux-gnu-gcc strace

$(READY): pyproject.toml tools/setup.sh
	@tools/setup.sh venv $(VENV)
	@touch $@

clean:  ## remove everything that a target made here
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info
	find src tests tools bench -name __pycache__ -prune -exec rm -rf {} +

help:
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' Makefile | expand -t 12

.PHONY: demo test check test-slow test-suites test-servers test-svm test-stress fuzz bench bench-servers build-tools clean help

# Everything runs in .venv, which holds the pins of requirements.lock and this project itself, and nothing else.

PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
# Named by the lock's content: a changed lock builds .venv anew, a touched one does not.
STAMP := $(VENV)/lock-$(firstword $(shell cksum < requirements.lock))

.PHONY: help setup demo test test-fast fuzz lint docs lock

help:
	@echo 'make setup      build .venv from requirements.lock (once; a few minutes)'
	@echo 'make demo       setup, then dock four real complexes; results in out/demo'
	@echo 'make test       setup, then ruff, mypy, the pages and all tests'
	@echo 'make test-fast  the same without the slow tests'
	@echo 'make fuzz       setup, then read thousands of files that were damaged at random (an hour)'
	@echo 'make lint       setup, then ruff and mypy'
	@echo 'make docs       setup, then the pages, in out/site; a broken link fails'
	@echo 'make lock       add to requirements.lock what pyproject.toml newly asks for'
	@echo 'Another Python than python3.11: make ... PYTHON=python3.12'

setup: $(STAMP)

demo: setup
	$(RUN) -m benchmarks.docking --nfe 10 --out out/demo

# Many small tensors: two processes of one thread each are faster than one of two.
TESTS := OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile

test: lint
	$(TESTS)

test-fast: lint
	$(TESTS) -m 'not slow'

fuzz: setup
	LD3_FUZZ_EXAMPLES=5000 $(TESTS) tests/docking/test_fuzz_readers.py $(wildcard tests/docking/test_fuzz_proteins.py)

lint: setup
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

docs: setup
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict

# torch goes first and alone: asked for by another package it would be the newest one, with other CUDA libraries.
INSTALL_TORCH = install --only-binary :all: --constraint requirements.lock $(shell grep '^torch==' requirements.lock)

$(STAMP):
	@$(PYTHON) -c '' 2>/dev/null || { echo 'error: $(PYTHON) does not run; apt install python3.11, or name another one from 3.11 on: make setup PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'error: $(PYTHON) is older than 3.11; name a newer one: make setup PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'error: $(PYTHON) has no venv module; apt install python3.11-venv (or the package of that name for your Python)' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(INSTALL_TORCH)
	$(PIP) install --only-binary :all: --no-deps --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(PIP) check
	@touch $@

# For maintainers: today's pins, and whatever else pyproject.toml asks for by now. To move a pin, delete its line first.
# Left out: CUDA libraries, which torch pins by itself where it needs them.
LOCK := out/lock
lock:
	$(PYTHON) -m venv --clear $(LOCK)
	$(LOCK)/bin/python -m pip $(INSTALL_TORCH)
	$(LOCK)/bin/python -m pip install --constraint requirements.lock '.[docking,vina,screening,ray,images,diffdock,diffusers,dev,docs]'
	head -n 1 requirements.lock > $(LOCK)/pins
	$(LOCK)/bin/python -m pip freeze --all --exclude pip --exclude ld3 | grep -vE '^(nvidia|cuda|triton)' | sed 's/+cpu$$//' >> $(LOCK)/pins
	mv $(LOCK)/pins requirements.lock

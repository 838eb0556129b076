# Two commands: `make demo` and `make test`. Each does all of its own set-up in .venv on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CORE   := $(wildcard src/bascule/kernels/native/*.cpp src/bascule/kernels/native/*.h src/bascule/kernels/native/CMakeLists.txt)

# qlib and freqtrade together import thousands of modules: keep their byte code even where writing it is off
export PYTHONPYCACHEPREFIX := $(CURDIR)/.pycache
unexport PYTHONDONTWRITEBYTECODE
# NumPy, LightGBM and friends: leave the parallelism to the test runner
export OMP_NUM_THREADS ?= 2

.PHONY: demo test test-all lint docs audit sbom types floors setup clean

demo: $(READY)
	$(BIN)/bascule demo

test: $(READY) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" tests
	$(BIN)/python tests/rotate.py

test-all: $(READY) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

# what comes in with us, and what must not go out: build/sbom.cdx.json, licences, advisories, leaked keys
audit: $(READY)
	$(BIN)/python -m tests.security

sbom: $(READY)
	$(BIN)/python -m tests.security sbom

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

setup: $(READY)

$(READY): pyproject.toml constraints.txt $(CORE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .pycache .mypy_cache .ruff_cache .pytest_cache build dist

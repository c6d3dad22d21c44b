# make demo: set up and run the digits pipeline.  make test: set up and pass the tests.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# A process for each core, four at most: each holds a TensorFlow.
SPREAD := -n auto --maxprocesses 4 --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow faults test-lowest test-newest lint docs results clean

demo: $(VENV)/.run
	$(BIN)/tfopt demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(SPREAD)

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(SPREAD)

faults: $(VENV)/.test
	$(BIN)/python -m pytest tests/faults -m ''

# The tests in an environment of their own: the lowest releases that pyproject.toml allows, or the newest. FILES chooses.
test-lowest test-newest: test-%: build/%/.test
	build/$*/bin/python -m pytest $(SPREAD) $(FILES)

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# The pages are in build/site: open build/site/index.html.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The tables of docs/results.md. ARGS chooses: --quick, --list, --only TABLE ...
results: $(VENV)/.test
	$(BIN)/python benchmarks/results.py $(ARGS)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "tfopt needs CPython 3.11, 3.12 or 3.13: none was found. Name one with make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.test $(VENV)/.dev: $(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[$*]'
	@touch $@

build/lowest/.test: RESOLUTION := lowest-direct
build/newest/.test: RESOLUTION := highest
build/lowest/.test build/newest/.test: build/%/.test: pyproject.toml | $(VENV)/.uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/$*
	$(BIN)/uv pip install --quiet --python build/$*/bin/python --resolution $(RESOLUTION) --editable '.[test]'
	@touch $@

$(VENV)/.uv: | $(VENV)/bin/python
	$(BIN)/pip install --quiet 'uv>=0.13'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info

# make demo: every step on the synthetic sample. make test: the tests. make lint: the linters.
# make space: the page for browsers, from the run RUN. make space-test: its tests, which need Node.js and Chromium.
# Each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= release/deit-tiny-ham10000

.PHONY: demo test lint clean space space-test

demo: $(VENV)/.installed
	$(BIN)/python -m lesions.demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --ignore tests/browser

space: $(VENV)/.installed-onnx
	$(BIN)/python -m space $(RUN)

space-test: $(VENV)/.installed-dev
	cd space && npm ci --ignore-scripts --no-fund && npm run check
	$(BIN)/python -m pytest tests/browser -n 2 --dist loadfile -rs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

clean:
	rm -rf $(VENV) data/sample runs/demo build space/node_modules

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-onnx: requirements-onnx.txt $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-onnx.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-score.txt $(VENV)/.installed-onnx
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements-score.txt
	touch $@

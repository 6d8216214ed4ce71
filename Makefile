# Two commands: `make demo` trains and shows the result, `make test` checks everything.
PYTHON ?= python3
VENV   ?= .venv
RUN    ?= runs/demo
# torch without CUDA where no NVIDIA GPU is (200 MB instead of 3 GB); `make demo TORCH_INDEX=` takes pip's own index.
TORCH       ?= torch==2.13.0
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
# The network of Depth Anything 3, whose declared dependencies cannot be met; the extra `da3` has those that it uses.
DA3         ?= depth-anything-3==0.1.1 evo==1.38.1

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test bench docs lint format clean

help:
	@echo "make demo   install into $(VENV), train the tiny world on this CPU, evaluate, report (about 11 minutes on 2 cores)"
	@echo "make test   install into $(VENV), then lint, type-check and test (about 10 minutes on 2 cores)"
	@echo "make bench  time the package against plain PyTorch into benchmarks/results (about 15 minutes on 2 idle cores)"
	@echo "make docs   install mkdocs and build the documentation as a site into site/"
	@echo "make lint   ruff and mypy only"
	@echo "make format let ruff format the code"
	@echo "make clean  remove the virtual environment and caches (runs/ stays)"

demo: $(VENV)/.installed
	@echo "[1/3] Training the tiny world by reinforcement learning into $(RUN) (about 8 minutes on 2 cores)"
	@if [ -f "$(RUN)/recipe.yaml" ]; then $(BIN)/worldr1 train --resume "$(RUN)"; else $(BIN)/worldr1 train tiny --run "$(RUN)"; fi
	@echo "[2/3] Evaluating on held-out prompts, base against trained (about 2 minutes)"
	@$(BIN)/worldr1 evaluate "$(RUN)"
	@echo "[3/3] Writing the report (under a minute)"
	@$(BIN)/worldr1 report "$(RUN)"
	@echo "Open $(CURDIR)/$(RUN)/report.html in a browser."

test: $(VENV)/.installed-dev
	@echo "Linting, type-checking and testing (about 10 minutes on 2 cores)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.run

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .ruff_cache .mypy_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "$(PYTHON) is not Python 3.10 to 3.13; name one that is: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	@echo "Installing $(TORCH) (a minute or more, by the network)"
	@{ [ -n "$(TORCH_INDEX)" ] && $(PIP) install --quiet --retries 0 --timeout 10 --index-url "$(TORCH_INDEX)" "$(TORCH)" 2>/dev/null; } \
		|| $(PIP) install --quiet "$(TORCH)"
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.torch
	@echo "Installing worldr1 and what it needs (about a minute)"
	@$(PIP) install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.torch
	@echo "Installing worldr1 and the test tools (about a minute)"
	@$(PIP) install --quiet -e ".[dev,da3]"
	@$(PIP) install --quiet --no-deps --ignore-requires-python $(DA3)
	@touch $@

# The documentation as a site, with the API reference from docstrings: open site/index.html.

docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open $(CURDIR)/site/index.html in a browser."

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.torch
	@echo "Installing worldr1 and the documentation tools (about a minute)"
	@$(PIP) install --quiet -e ".[docs]"
	@touch $@

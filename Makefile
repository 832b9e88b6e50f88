# Three commands: `make install` makes the environment, `make repro` runs the study, `make test` the tests.
# Needs git, make and Python 3.11 to 3.13. All paths are relative: the folder's name may hold spaces.
PYTHON ?= python3
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: repro test test-gpu torture lint types docs install clean-environment

# First what needs no stage: is the study sound, are the images those that were indexed, can weights be
# had? Only a study that is not sound stops it.
repro: $(VENV)/.installed
	$(RUN) python -m stages.study
	$(RUN) probeline datasets check --quiet
	@$(RUN) probeline models fetch --left-out || true
	$(RUN) dvc repro

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(RUN) pytest -n auto --dist worksteal

# On a machine with a CUDA device: the tests that need one, cuML's included.
test-gpu: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-gpu.txt --editable '.[dev,gpu]'
	$(RUN) pytest -m gpu

# Kills, failing disks, flipped bits, changed files, at length; prints the tables of docs/reliability.md.
torture: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(RUN) python tests/torture/torture.py

lint: $(VENV)/.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(VENV)/.installed
	$(RUN) mypy

# The manual, as pages in site/ that open without a network; every link is checked.
docs: $(VENV)/.installed
	$(RUN) mkdocs build --quiet

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11, 3.12 or 3.13 is needed; this is $$($(PYTHON) --version)." \
		  "Name another with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@

clean-environment:
	rm -rf $(VENV)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CI_RUN := $(or $(ETABENCH_CI_RUN),runs/ci)

.DEFAULT_GOAL := help
.PHONY: help install demo study-demo test quick lint types docs check baseline bench gpu-check train-toybox clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

install: $(INSTALLED) ## make .venv with everything in it

demo: $(INSTALLED) ## run four editors over their knobs on ToyBox, score them, write runs/demo/report/index.html
	$(BIN)/etabench run demo --out runs/demo

study-demo: $(INSTALLED) ## let people vote on the edits of the demo: makes the run and the study where they are not, and opens the first page
	test -f runs/demo/report/index.html || $(BIN)/etabench run demo --out runs/demo
	test -f runs/demo-study/study.json || $(BIN)/etabench study make runs/demo --out runs/demo-study
	$(BIN)/etabench study serve runs/demo-study --open

test: $(INSTALLED) ## run all tests, offline, in two processes of one thread each (about half an hour of two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

quick: $(INSTALLED) ## before a commit: all tests that take less than a second or so, and every check of one editor (a minute and a half at most)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(INSTALLED) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy --strict
	$(BIN)/mypy

docs: $(INSTALLED) ## check that README and docs agree with the command line and the registries
	$(BIN)/python tests/docs/check_docs.py

check: $(INSTALLED) ## run the ci spec and compare it with the committed baseline; ETABENCH_CI_RUN says where, and JUnit XML and Markdown lie beside it
	$(BIN)/etabench run ci --out $(CI_RUN) --strict
	$(BIN)/etabench check $(CI_RUN) --baseline tests/baselines/ci.json --junit $(CI_RUN).xml --summary $(CI_RUN).md

baseline: $(INSTALLED) ## run the ci spec with five draws of seeds and two repeats, write the baseline anew and docs/gate.md (half an hour of two cores); say why in the commit
	$(BIN)/etabench baseline ci --out tests/baselines/ci.json
	$(BIN)/python -m bench.studies.gate

bench: $(INSTALLED) ## sweeps, scoring and Fréchet distance beside what peers run, in one run, as ratios (about half an hour)
	$(BIN)/python -m bench.benchmarks

gpu-check: $(INSTALLED) ## on a machine with a CUDA card: pictures, speed and memory of it in ten minutes, written to docs/gpu_check.md
	$(BIN)/python -m bench.benchmarks.gpu

train-toybox: $(INSTALLED) ## train the five ToyBox models again (hours on a CPU, minutes on a GPU)
	$(BIN)/python -m bench.toybox.train all
	$(BIN)/python -m bench.toybox.evaluate

clean: ## remove runs, build folders and the virtual environment
	rm -rf runs build $(VENV)

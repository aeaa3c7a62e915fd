# How the project is started. A bare `make` lists the commands; each sets up what it needs first.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
# Free disk that the set-up asks for. The CUDA build of torch, where pip finds that one, takes twice as much.
NEEDED_GB ?= 5
PORT ?= 5000
TEST_PROCESSES ?= 2

# Relative, so that no recipe breaks on a space in the project's own path.
BIN := .venv/bin

# By the file: what the tests of a file start from is made once.
SHARED_OUT = --numprocesses $(TEST_PROCESSES) --dist loadfile

export PYTHON NEEDED_GB
# DVC's stages say `python`: it has to be this project's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
# Tools that would report on their use.
export DVC_NO_ANALYTICS := 1
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.PHONY: help
help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s%s\n", $$1, $$2 }' Makefile

.PHONY: run
run: setup  ## data to released, packaged model: does what has changed, then sums up
	@$(BIN)/python -m dvc repro
	@$(BIN)/takeoff summary

.PHONY: test
test: setup  ## all tests, in two processes (TEST_PROCESSES=... for more, 0 for none beside its own)
	@$(BIN)/python -m pytest $(SHARED_OUT)

.PHONY: test-quick
test-quick: setup  ## the tests that take no more than a few seconds each
	@$(BIN)/python -m pytest $(SHARED_OUT) -m "not slow"

.PHONY: lint
lint: setup  ## style, formatting, types, notebooks without outputs, and what they promoted unchanged
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@git ls-files -z -- '*.ipynb' | xargs -0 -r $(BIN)/python -m nbstripout --verify
	@$(BIN)/takeoff promote --check

.PHONY: bench
bench: setup  ## time and memory against the limits; writes reports/benchmarks/
	@$(BIN)/python -m tests.benchmarks.pipeline

.PHONY: bench-serving
bench-serving: setup  ## the service against its limits, with wrk; writes reports/benchmarks/serving.md
	@$(BIN)/python -m tests.benchmarks.serving

.PHONY: bench-monitoring
bench-monitoring: setup  ## the monitor against its limits; writes reports/benchmarks/monitoring.md
	@$(BIN)/python -m tests.benchmarks.monitoring

.PHONY: bench-notebooks
bench-notebooks: setup  ## notebooks, promotion and pilot-check against their limits; writes reports/benchmarks/notebooks.md
	@$(BIN)/python -m tests.benchmarks.notebooks

.PHONY: lab
lab: PORT := 8888
lab: setup  ## open the notebooks in JupyterLab on http://127.0.0.1:8888 (PORT=... for another port)
	@$(BIN)/python -m jupyterlab --notebook-dir=. --port $(PORT) --ServerApp.port_retries=0 notebooks

.PHONY: serve
serve: setup  ## serve the champion's Bento
	@$(BIN)/takeoff serve

.PHONY: container
container: setup  ## build the image of the packaged Bento (BENTO=... for another) with podman or docker
	@$(BIN)/python -m serving.deploy.container build $(if $(BENTO),--bento "$(BENTO)")

.PHONY: container-run
container-run: PORT := 3000
container-run: setup  ## run that image on http://127.0.0.1:3000 (PORT=... for another port)
	@$(BIN)/python -m serving.deploy.container run $(if $(BENTO),--bento "$(BENTO)") --port $(PORT)

# A fault, as FAULT=units:COLUMN; the words for it and all else: .venv/bin/python -m monitoring.replay --help
REPLAY := $(foreach each,URL FROM TO SPEED SAMPLE SEED FAULT FAULT_FROM,$(if $($(each)),--$(shell tr A-Z_ a-z- <<<$(each)) "$($(each))"))

.PHONY: replay
replay: setup  ## play production through the running service: FROM=2013-08-01 TO=... SPEED=3600 FAULT=... RESTART=1
	@$(BIN)/python -m monitoring.replay $(REPLAY) $(if $(RESTART),--restart)

.PHONY: retrain
retrain: setup  ## run the pipeline as of a day and let the gate decide: AS_OF=2013-10-01 (REASON='...')
	@$(BIN)/python -m monitoring.retrain --as-of "$(AS_OF)" --reason "$(REASON)"

.PHONY: story
story: setup  ## release, serve, play the rest of the year, watch, retrain: what it was worth (20 minutes or more)
	@$(BIN)/python -m monitoring.story $(if $(MONTHS),--months "$(MONTHS)") $(if $(COMPETE),--compete "$(COMPETE)")

.PHONY: mlflow
mlflow: setup  ## browse runs and model versions on http://127.0.0.1:5000 (PORT=... for another port)
	@test -f mlruns/mlflow.db || { echo "No runs are recorded yet. Run \`make run\` first." >&2; exit 1; }
	@$(BIN)/python -m mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db --host 127.0.0.1 --port $(PORT)

.PHONY: monitor
monitor: setup  ## measure production and decide: healthy, watch or retrain, which ends with 2 (WINDOW=2013-W36 for one)
	@$(BIN)/python -m monitoring.monitor $(if $(WINDOW),--window "$(WINDOW)")

.PHONY: evidently
evidently: PORT := 8000
evidently: setup  ## browse Evidently's reports of all windows on http://127.0.0.1:8000 (PORT=... for another port)
	@test -d monitoring/reports/workspace || { echo "No window is drawn yet. Run \`make monitor\` first." >&2; exit 1; }
	@$(BIN)/python -m evidently.cli ui --workspace monitoring/reports/workspace --port $(PORT)

.PHONY: setup
setup:  ## make .venv from requirements.lock, if it is not there or out of date
	@bash setup.sh
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "Ready: .venv holds what requirements.lock lists.",:)

.PHONY: hooks
hooks: setup  ## check every commit before git makes it
	@$(BIN)/python -m pre_commit install

.PHONY: lock
lock:  ## write requirements.lock anew, with the newest versions that pyproject.toml allows
	@bash setup.sh lock

# What holds history stays: what a replay has sent, mlruns/, .bentoml/, .remote/ and DVC's cache. So does data of your own.
.PHONY: clean
clean:  ## remove .venv and what the pipeline made; runs, releases, Bentos and DVC's cache stay
	@rm -rf .venv src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@rm -rf data/raw/rows.parquet data/production/rows.parquet data/checked data/split data/quarantine models
	@find reports -mindepth 1 -maxdepth 1 ! -name benchmarks -exec rm -rf {} +
	@mkdir -p monitoring/reports && find monitoring/reports -mindepth 1 -maxdepth 1 ! -name 'replay.jsonl*' -exec rm -rf {} +
	@find pipelines src tests monitoring -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed. History is still in mlruns/, .bentoml/, .remote/ and .dvc/cache/."

# `make demo` and `make test` are all a newcomer needs; both set up .venv first when it is missing or out of date.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
STAMP := .venv/.installed
RUNS ?= work_dirs
# A worker that has nothing left to do takes tests of the other.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# Without bytecode each of the many processes compiles every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-all demo-finetune test test-fast zoo long kills hostile golden tables screenshot lint format lock clean

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "make: Python 3.11 to 3.13 is needed, %s is %s; name another with make PYTHON=..." % (sys.executable, sys.version.split()[0]))'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## make .venv with every pinned dependency

demo: $(STAMP)   ## train SSDLite on generated data, then print the leaderboard (about 5 minutes on 2 cores)
	$(BIN)/python tools/train.py configs/ssdlite_rexnet_x1.0.py --demo --overwrite --pictures 8 --work-dir work_dirs/demo
	@echo
	$(BIN)/python tools/summarize.py work_dirs/demo
	@echo "Detections are drawn in work_dirs/demo/pictures/sheet.png"

demo-all: $(STAMP) ## train one config of each detector on generated data, then print one leaderboard (under 20 minutes on 2 cores)
	for name in ssdlite faster_rcnn mask_rcnn; do \
	  $(BIN)/python tools/train.py configs/$${name}.py --backbone rexnet_x1.0 --demo --overwrite --pictures 8 --work-dir work_dirs/demo_all/$$name || exit 1; \
	done
	@echo
	$(BIN)/python tools/summarize.py work_dirs/demo_all

demo-finetune: $(STAMP)  ## fine-tune ImageNet's weights and random ones on generated data (about a minute)
	$(BIN)/python tools/train.py configs/finetune.py --dataset imagefolder --backbone efficientnet_lite0 --demo --overwrite --work-dir work_dirs/demo_finetune/imagenet
	$(BIN)/python tools/train.py configs/finetune.py --dataset imagefolder --backbone efficientnet_lite0 --demo --overwrite --work-dir work_dirs/demo_finetune/scratch --pretrained none
	$(BIN)/python tools/summarize.py work_dirs/demo_finetune

test: $(STAMP)   ## run the test suite (minutes)
	$(PYTEST)

test-fast: $(STAMP) ## run the tests of the inner loop: none that takes seconds (about a minute)
	$(PYTEST) -m "not slow and not zoo and not long"

long: $(STAMP)   ## run the long forms of tests that have a short one in the suite
	$(PYTEST) -m long

zoo: $(STAMP)    ## test every row of the catalogue (about 5 minutes)
	$(PYTEST) tests/backbones tests/measuring -m zoo

kills: $(STAMP)  ## kill short trainings 20 times each, a series 10, and compare them with ones left alone (about 15 minutes)
	PYTHONPATH=.:tests:dev OMP_NUM_THREADS=1 $(BIN)/python dev/kills.py --kills 20

hostile: $(STAMP) ## draw hostile command lines of all tools for 10 minutes: count and findings
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python dev/hostile.py --minutes 10

golden: $(STAMP) ## record params and multiply-adds and the leaderboards' output anew: read the diff
	$(BIN)/python dev/golden.py complexity leaderboard

tables: $(STAMP) ## write the generated tables of docs/ anew
	$(BIN)/python dev/golden.py tables

screenshot: $(STAMP) ## take the picture of the page of your own runs (needs Debian's chromium and chromium-driver)
	$(BIN)/python tools/summarize.py $(RUNS) --paper --format html --out $(RUNS)/page.html
	$(BIN)/python dev/screenshot.py $(RUNS)/page.html tests/golden/page.png

lint: $(STAMP)   ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## fix style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Without the trackers, which disagree with one another, and two heavy converters.
LOCKED := weights export science openvino quantise ncnn litert cluster dev

lock: $(STAMP)   ## pin the newest versions again
	$(BIN)/uv pip compile --quiet --universal --generate-hashes $(LOCKED:%=--extra %) --upgrade pyproject.toml -o requirements.lock
	echo onnx2tf | $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.12 --generate-hashes --custom-compile-command "make lock" --upgrade - -o benchmark/inference/export/litert.lock

clean:           ## remove the environment and caches, never work_dirs
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .mypy_cache

# One command sets up, one runs the main job, one passes the tests: `make demo`, `make test`.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
DEMO ?= demo-out
# So small a model wastes its time in one worker of two threads; two of one thread do not. A driver
# that is too old for this torch is no reason not to show the demo.
USABLE = import sys, torch; sys.exit(not torch.cuda.is_available())
DEVICES ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && $(BIN)/python -c '$(USABLE)' && echo auto || echo cpu:2)

.PHONY: help setup demo pictures lint format test test-slow test-gpu bench-gpu bench-video clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## a virtual environment in .venv with pinned versions and the sa2va command

# Tests read our brushes with Label Studio's own decoder, which needs none of the many dependencies
# of its SDK; where that cannot be had, they are skipped and say so.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps label-studio-sdk
	touch $@

demo: setup  ## draw pictures and videos, annotate them with the built-in model, say where to look
	$(BIN)/python -m sa2va_cli.demo.draw $(DEMO)/input
	OMP_NUM_THREADS=1 $(BIN)/sa2va annotate --manifest $(DEMO)/input/manifest.jsonl --model demo \
		--devices $(DEVICES) --format coco,overlay,masks,report -o $(DEMO)/job
	@echo "Open $(DEMO)/job/report.html in a browser. The truth: $(DEMO)/input/truth.json"

pictures: demo  ## the pictures of the README anew, from the demo (needs chromium, chromedriver, tmux)
	$(BIN)/python docs/pictures.py $(DEMO) --devices $(DEVICES)

lint: setup  ## style, complexity and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two processes of one thread each, for CI's two cores: threads that wait for each other are slower.
test: setup  ## the tests that CI runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

test-slow: setup  ## the long ones: kill tests, throughput, quality
	$(BIN)/python -m pytest -m slow

test-gpu: setup  ## what needs a CUDA device
	$(BIN)/python -m pytest -m gpu

bench-gpu: setup  ## measure a CUDA device at the 4B size: bench-gpu.json, and a table for docs/
	$(BIN)/sa2va bench --random-weights ByteDance/Sa2VA-4B --device cuda --repeat 5 --json \
		--works image-1,image-4,image-8,image-16,images-32,caption-6,video-1,video-4,video-5 \
		--markdown bench-gpu.md > bench-gpu.json \
		|| { code=$$?; test -s bench-gpu.json || rm bench-gpu.json; exit $$code; }
	@echo "bench-gpu.json has everything; bench-gpu.md is the table for docs/benchmarks.md"

bench-video: setup  ## peak memory of videos of 100, 1,000 and 5,000 frames: an hour, or more
	OMP_NUM_THREADS=1 $(BIN)/python -m sa2va_cli.demo.video_memory

clean:  ## forget everything that make made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info bench-gpu.json bench-gpu.md

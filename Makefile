# Set-up, tests and the first result. Python and pip are all it needs.
#
#   PYTHON=python3.13 make test        another interpreter
#   MORELLO_NO_VENV=1 make gpu         where no environment can be made: use PYTHON as it is, nothing installed
#   OUT=somewhere make gpu             where `make gpu` writes

PYTHON ?= python3
OUT ?= benchmarks/results

ifeq ($(MORELLO_NO_VENV),1)
PY := $(PYTHON)
CORE :=
TEST :=
DOCS :=
# .typings holds a package folder `morello` of links into this tree, so that it can be imported without being installed.
export PYTHONPATH := $(CURDIR)/.typings$(if $(PYTHONPATH),:$(PYTHONPATH))
else
PY := .venv/bin/python
CORE := .venv/core.stamp
TEST := .venv/test.stamp
DOCS := .venv/docs.stamp
endif

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs gpu clean opengl

help:  ## print this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 14

demo: $(CORE)  ## install, train an agent in Labyrinth, show its score, leave a video
	$(PY) -m morello train ppo --env labyrinth:seekavoid_arena_01 --steps 500000 --frame-size 32 64 --torso shallow \
		--learning-rate 0.001 --constant-rate --gamma 0.97 --entropy-cost 0.04 --final-entropy-cost 0.005 \
		--threads 1 --run runs/demo --resume
	$(PY) -m morello eval runs/demo
	$(PY) -m morello watch runs/demo

test: $(TEST) opengl  ## install with the test extras, run every test that needs no GPU
	OMP_NUM_THREADS=1 $(PY) -m pytest -m "not gpu" --numprocesses auto --maxprocesses 4 --dist worksteal --durations=10 --durations-min=5

lint: $(TEST)  ## ruff, and mypy on the package
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(DOCS)  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

gpu: $(TEST)  ## GPU tests, then throughput on the GPU, written into OUT (benchmarks/results)
	$(PY) -m pytest -m gpu
	$(PY) -m morello bench throughput --device cuda --out $(OUT)

# MiniWorld draws with the system's OpenGL. Where this may install it, it does; elsewhere its tests skip and say so.
opengl:
	@$(PY) -c 'from ctypes.util import find_library as f; raise SystemExit(not (f("EGL") and f("GL") and f("GLU")))' || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	apt-get install -qq -y --no-install-recommends libegl1 libgl1 libglu1-mesa >/dev/null; } || \
	echo "No system OpenGL: MiniWorld's tests will be skipped (apt-get install libegl1 libgl1 libglu1-mesa)."

clean:  ## remove the environment and what tools left behind; runs stay
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "morello needs Python 3.11 to 3.13, \
	and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.13 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv

# Installed anew only when what is to be installed has changed.
.venv/core.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/test.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch .venv/core.stamp $@

.venv/docs.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch .venv/core.stamp $@

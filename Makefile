# `make` lists what can be made. The environment is made once, in $(VENV), and again only when settings.ini changes.

VENV ?= .venv
PYTHON ?= python3
WORKERS ?= 2

# The course: the folder with somebody's copy of it, and where that is served. Without a token one is drawn, and a browser opened.
COURSE ?= _runs/course
ADDRESS ?= 127.0.0.1
PORT ?= 8888
TOKEN ?=

# Folders may have spaces in their names: make takes one as part of a target only behind a backslash.
space := $(subst ,, )
bin := $(if $(filter /%,$(firstword $(VENV))),,$(CURDIR)/)$(VENV)/bin
ready := $(subst $(space),\$(space),$(VENV))/.specdehaze-ready

export PATH := $(bin):$(PATH)
# Of all the modules that are installed only a few are used: each is compiled when it is first imported, and kept.
unexport PYTHONDONTWRITEBYTECODE
# Two workers with a thread each are quicker here, and steadier, than one worker with many.
one_thread := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

# In a container one is often root, and JupyterLab wants to be told that this is meant.
as_root := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help install report test test-notebooks test-code browser export lint figures lab course clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(ready) ## make the environment

$(ready): settings.ini setup.py pyproject.toml
	test -x "$(bin)/python" || $(PYTHON) -m venv "$(VENV)"
	@echo "installing into $(VENV): this takes a few minutes the first time"
	"$(bin)/python" -m pip install --quiet --upgrade pip
	"$(bin)/python" -m pip install --quiet --no-compile --editable ".[dev,train]"
	touch "$@"

report: install ## clean all bundled recordings, measure and show them: _runs/clean_recordings/ and figures/
	"$(bin)/specdehaze" report clean_recordings --profile full

test: lint test-notebooks test-code ## all tests: what lint, notebooks and tests/ hold

test-notebooks: install ## run every source notebook, with what it asserts (index: when README.md is compared with it)
	$(one_thread) "$(bin)/nbdev_test" --n_workers $(WORKERS) --do_print --skip_file_glob index.ipynb

test-code: install ## properties, oracles, layers, reports, command
	$(one_thread) "$(bin)/python" -m pytest -n $(WORKERS)

browser: install ## all lessons, labs and the demo in a real browser (Debian: apt-get install chromium)
	$(one_thread) "$(bin)/python" -m pytest tests/browser -m "whole or not whole"

export: install ## notebooks into package and README.md, and clean the notebooks
	"$(bin)/nbdev_export"
	"$(bin)/nbdev_clean"
	"$(bin)/python" tests/readme.py

lint: install ## ruff over notebooks, package and tests
	"$(bin)/ruff" check --quiet .

figures: install ## draw the pictures in figures/ anew from the tables there, and write README.md
	"$(bin)/python" figures/make_figures.py
	"$(bin)/python" tests/readme.py

lab: install ## open the notebooks in JupyterLab
	"$(bin)/jupyter" lab --notebook-dir nbs $(as_root)

course: install ## the lessons in JupyterLab, in a copy of your own: _runs/course (nbs/lessons/README.md: for a class)
	"$(bin)/python" nbs/lessons/make_course.py "$(COURSE)"
	"$(bin)/jupyter" lab --notebook-dir "$(COURSE)" --ip "$(ADDRESS)" --port "$(PORT)" $(as_root) \
		$(if $(TOKEN),--no-browser --IdentityProvider.token="$(TOKEN)") \
		--LabApp.default_url /lab/tree/nbs/lessons/01_sound_to_spectrogram.ipynb

clean: ## remove what tools and reports left behind; the environment and copies of the course stay
	test ! -d _runs || find _runs -mindepth 1 -maxdepth 1 ! -name 'course*' -exec rm -rf {} +
	rm -rf _docs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find nbs specdehaze tests '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf {} +

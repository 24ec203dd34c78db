# What there is to do here. `make` alone lists it. Works with GNU Make 3.81 (macOS) and later.
# Settings: PYTHON=python3.12 (which one makes the environment), VENV=.venv, PORT=8000, CHROME_PATH=/path/to/chromium.

SHELL   := bash
VENV    ?= .venv
PORT    ?= 8000
PYTHON  ?=
PY      := $(VENV)/bin/python
BUILD   := _build
SITE    := tests/site

# TensorFlow wants other versions of the book's packages, so it has an environment of its own. Lesson 6.1 looks for it here.
TF_VENV := .venv-tensorflow
TF      := $(if $(filter Darwin,$(shell uname)),tensorflow,tensorflow-cpu)==2.21.0
JAX     := jax==0.10.2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PUPPETEER_SKIP_DOWNLOAD := 1
export CHROMIUM := $(or $(CHROMIUM),$(CHROME_PATH))

# An installed environment is known by the checksum of what it was installed from, and where: a change installs again.
INSTALL_KEY := $(shell { cat requirements.txt pyproject.toml; echo '$(CURDIR)'; } | cksum | cut -d' ' -f1)
INSTALLED   := $(VENV)/.installed-$(INSTALL_KEY)
NODE_KEY    := $(shell cat $(SITE)/package.json $(SITE)/package-lock.json 2>/dev/null | cksum | cut -d' ' -f1)
NODE_READY  := $(SITE)/node_modules/.installed-$(NODE_KEY)
SITE_KEY     = $$( { find _config.yml _toc.yml book notebooks bigmodel_lab -type f -not -path '*/__pycache__/*' \
                    -not -path '*/.*' | LC_ALL=C sort | tr '\n' '\0' | xargs -0 cksum; \
                    cksum requirements.txt $(BUILD)/lessons.json; } | cksum | cut -d' ' -f1)

SAY = @printf '\n== %s\n'

.NOTPARALLEL:
.PHONY: help book site serve test lessons lint strip unit site-tests bench install tensorflow clean
.DEFAULT_GOAL := help

help:
	@echo 'make book       run the lessons that changed, build the book, serve it and print the address (PORT=8000)'
	@echo 'make test       everything that is checked: lint, unit tests, lessons, a strict build, the site in Chromium'
	@echo 'make lessons    run the lessons that changed, offline, under nbval; their outputs become the book'
	@echo 'make site       build the book into $(BUILD)/html without serving it'
	@echo 'make lint       style of code, notebooks and workflows'
	@echo 'make strip      remove outputs from notebooks, as they are to be committed'
	@echo 'make tensorflow an environment with TensorFlow and JAX beside the course: lesson 6.1 then runs them'
	@echo 'make bench      print ratios: training loop, import time, seconds per lesson, build cold and cached'
	@echo 'make clean      remove what was built, and keep the environment'

# ---- what has to be there ---------------------------------------------------------------------------------------

install: $(INSTALLED)

$(PY):
	$(SAY) 'looking for Python 3.11 or later'
	@found=''; for python in $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  version=$$($$python -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
	  found="$$found $$python=$$version"; \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	  $$python -c 'import ensurepip, venv' 2>/dev/null || { found="$$found(without-venv)"; continue; }; \
	  echo "$$python is Python $$version: making $(VENV)"; \
	  $$python -m venv $(VENV) && exit 0; \
	done; \
	rm -f $(PY); \
	echo 'expected: Python 3.11 or later, with its venv module'; \
	echo "got:     $${found:- no Python at all}"; \
	echo 'try:      Debian, Ubuntu: sudo apt-get install python3 python3-venv; macOS: brew install python@3.12;'; \
	echo '          or name one: make $(or $(MAKECMDGOALS),book) PYTHON=/path/to/python3.12'; \
	exit 1

# torch first and alone: an index that offers its CPU build then decides, and no other package asks for a CUDA one.
$(INSTALLED): $(PY)
	$(SAY) 'installing the packages of requirements.txt (2 to 6 GB, minutes the first time; later nothing)'
	@echo '1/3 torch' && $(PY) -m pip install -q "$$(grep '^torch==' requirements.txt)"
	@echo '2/3 everything else' && $(PY) -m pip install -q -r requirements.txt
	@echo '3/3 the course library' && $(PY) -m pip install -q -e . --no-deps
	@rm -f $(VENV)/.installed-* && touch $@

tensorflow: $(TF_VENV)/.installed-$(TF)-$(JAX)

$(TF_VENV)/.installed-$(TF)-$(JAX): $(PY)
	$(SAY) 'installing TensorFlow and JAX in an environment of their own ($(TF_VENV), 2 GB)'
	@$(PY) -m venv $(TF_VENV) && $(TF_VENV)/bin/python -m pip install -q '$(TF)' '$(JAX)'
	@rm -f $(TF_VENV)/.installed-* && touch $@

.PHONY: debian
debian:
	@missing=''; \
	[ -n "$$CHROMIUM" ] || command -v chromium chromium-browser google-chrome >/dev/null || missing='chromium'; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	[ "$$(uname)" != Linux ] || command -v bwrap >/dev/null || missing="$$missing bubblewrap"; \
	[ -n "$$missing" ] || exit 0; \
	if command -v apt-get >/dev/null; then \
	  printf '\n== installing Debian packages: %s\n' "$$missing"; \
	  as=''; [ "$$(id -u)" = 0 ] || as=sudo; \
	  $$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
	  echo 'expected: Chromium (or Chrome), Node.js 18 or later and npm, for the tests of the website'; \
	  echo "got:      none of:$$missing"; \
	  echo 'try:      macOS: brew install node, brew install --cask chromium; then: export CHROME_PATH=/path/to/the/browser'; \
	  exit 1; \
	fi

$(NODE_READY): $(wildcard $(SITE)/package.json)
	$(SAY) 'installing what the tests of the website need (npm)'
	@if [ -f $(SITE)/package-lock.json ]; then npm ci --prefix $(SITE) --no-audit --no-fund --loglevel=error; \
	else npm install --prefix $(SITE) --no-audit --no-fund --loglevel=error; fi
	@touch $@

# ---- what is made of it -------------------------------------------------------------------------------------------

book: site serve

serve: $(INSTALLED)
	$(SAY) 'serving $(BUILD)/html'
	@$(PY) -m bigmodel_lab.course serve --port $(PORT)

lessons: $(INSTALLED)
	$(SAY) 'lessons'
	@$(PY) -m tests.notebooks.lessons

# Always from scratch, the notebook cache kept: an incremental build forgets the warnings of the one before.
site: lessons
	@key=$(SITE_KEY); \
	if [ -f $(BUILD)/html/.built-$$key ]; then printf '\n== the site is up to date\n'; exit 0; fi; \
	printf '\n== building the site (strict: a warning fails)\n'; \
	rm -rf $(BUILD)/html $(BUILD)/.doctrees $(BUILD)/jupyter_execute; \
	$(VENV)/bin/jupyter-book build . $$([ -t 1 ] || echo -q) -W -n --keep-going && touch $(BUILD)/html/.built-$$key

# ---- what is checked ----------------------------------------------------------------------------------------------

test: lint tensorflow unit site-tests

lint: $(INSTALLED)
	$(SAY) 'lint'
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m tests.notebooks.tidy --check
	@$(PY) -c 'import pathlib, yaml; [yaml.safe_load(p.read_text()) for p in pathlib.Path(".github").rglob("*.yml")]'

strip: $(INSTALLED)
	@$(PY) -m tests.notebooks.tidy

unit: $(INSTALLED) debian
	$(SAY) 'unit tests'
	@$(PY) -m pytest tests --ignore $(SITE) --ignore tests/notebooks/test_lessons.py --ignore tests/notebooks/test_evidence.py -n 2 --dist loadfile --timeout 1800

site-tests: site debian $(NODE_READY)
	$(SAY) 'lessons as executed, and the built site'
	@REQUIRE_EXECUTED=1 $(PY) -m pytest tests/notebooks/test_lessons.py tests/notebooks/test_evidence.py $(SITE) --timeout 1800

bench: $(INSTALLED)
	$(SAY) 'bench'
	@$(PY) -m benchmarks

clean:
	rm -rf $(BUILD)

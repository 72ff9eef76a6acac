# One command runs the server, one runs every check. Both set up what they need and can be repeated.
#   make run     serve at http://localhost:8000 with the bundled model
#   make test    format, lint, types, import laws, Python, TypeScript and browser tests
# PIP_ARGS and NPM_ARGS are passed to the installers, e.g. for a mirror or a CPU-only build of torch.

SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WEB := client_demo/web
PAGE := server/static/index.html
# Where the browser tests look for it, too.
CHROMIUM ?= /usr/bin/chromium
# npm goes on with a Node that is too old, and what it runs fails without saying why.
NODE_FITS := command -v npm >/dev/null && node --version 2>/dev/null | awk -F '[v.]' \
  '$$2 > 22 || ($$2 == 20 && $$3 >= 19) || ($$2 == 22 && $$3 >= 12) { fits = 1 } END { exit !fits }'
WEB_SOURCES := $(shell find $(WEB) -path '*/node_modules' -prune -o -type f -print 2>/dev/null)

.PHONY: help run page setup browser test lint types laws test-python test-web test-browser format clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.server
	@if ! { $(NODE_FITS); }; then \
	  echo 'samwire: there is no Node.js 20.19, 22.12 or newer (with npm), so the page is not built; the socket,' \
	       'the Python client and the command line work. Install one for the page.'; \
	elif ! $(MAKE) --no-print-directory page; then \
	  echo 'samwire: the page could not be built, for the reason above; the socket, the Python client' \
	       'and the command line work.'; fi
	@$(BIN)/samwire serve

page: $(PAGE)

setup: browser $(VENV)/.dev $(WEB)/node_modules/.installed

browser:
	@[ -e '$(CHROMIUM)' ] || echo 'samwire: there is no Chromium at $(CHROMIUM), so `make test` will skip' \
	  'the browser tests (with CI set: fail). Install it (apt install chromium), or set CHROMIUM to one.'

test: setup lint types laws test-python test-web test-browser
	@if [ -e '$(CHROMIUM)' ]; then echo 'samwire: every check passed.'; else \
	  echo 'samwire: every check passed but the browser tests, which were SKIPPED: there is no Chromium' \
	       'at $(CHROMIUM).'; fi

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

laws: $(VENV)/.dev
	$(BIN)/lint-imports

test-python: $(VENV)/.dev
	$(BIN)/pytest

test-web: $(VENV)/.dev $(WEB)/node_modules/.installed
	npm --prefix $(WEB) run check

# Not of $(PAGE): the script builds the page itself.
test-browser: $(VENV)/.dev $(WEB)/node_modules/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(WEB) run test:browser

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	npm --prefix $(WEB) run format

clean:
	rm -rf $(VENV) $(WEB)/node_modules server/static

$(PAGE): $(WEB_SOURCES) $(WEB)/node_modules/.installed
	@echo 'samwire: building the page'
	@npm --prefix $(WEB) run --silent build

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json
	@$(NODE_FITS) || { echo 'samwire: there is no Node.js 20.19, 22.12 or newer (with npm); install one.' >&2; exit 1; }
	@echo 'samwire: installing the page'"'"'s packages'
	@npm --prefix $(WEB) ci --no-audit --no-fund --loglevel=error $(NPM_ARGS)
	@touch $@

$(VENV)/.server: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo 'samwire: installing the server (the first time takes some minutes)'
	@$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.server
	@echo 'samwire: installing what the checks need'
	@$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[server,dev]'
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'samwire: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11.' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'samwire: could not make a virtual environment; on Debian: apt install python3-venv.' >&2; exit 1; }

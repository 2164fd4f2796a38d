# The commands of this project; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PORT ?= 8000
SIZE ?= study
VAR ?= var
PY := .venv/bin/python
COVERAGE := validation bands agreement
PIP := $(PY) -m pip install -qq --disable-pip-version-check --no-input --require-hashes

.PHONY: help install install-dev demo demo-reset test test-slow lint bench validation drill mutate messages screenshots lock browser r secrets

help: ## this list
	@echo "make TARGET, with one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: .venv/.installed ## .venv with the pinned packages; a second call does nothing
	@:

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." \
	    "Install one and name it: make PYTHON=python3.12 $(or $(MAKECMDGOALS),install)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "The venv module of Python is missing. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; \
	  exit 1; }
	@echo "Installing the pinned packages into .venv (once; about half a minute)"
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) -r requirements.txt
	@touch $@

install-dev: .venv/.installed-dev
	@:

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	@echo "Installing the pinned development packages into .venv (once)"
	@$(PIP) -r requirements-dev.txt
	@touch $@

# The demo never touches a database that this shell happens to name.
demo: install ## the site with demo data at http://127.0.0.1:8000 [PORT= SIZE=small|study|large VAR=]
	@unset DATABASE_URL CELERY_BROKER_URL; export ALLIANCE_DEMO=1 VAR='$(VAR)'; \
	  exec $(PY) manage.py up --demo '$(SIZE)' --port '$(PORT)'

demo-reset: install ## deletes the data of the demo [VAR=]
	@unset DATABASE_URL CELERY_BROKER_URL; exec $(PY) -m alliance_site.embedded clear '$(VAR)'

test: install-dev browser ## everything the tests need, then the whole suite
	@$(PY) -m pytest -q -n 2 --dist loadfile

test-slow: install-dev browser r ## the long tests, and R and what else they need, where root may install it
	@$(PY) -m pytest -q -m slow -n 2 --dist loadfile

browser:
	@command -v chromium chromium-browser google-chrome >/dev/null && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "The browser tests need Chromium: sudo apt-get install chromium (or the like)." >&2; exit 0; fi; \
	echo "Installing Chromium for the browser tests (once)"; \
	log=$$(mktemp); export DEBIAN_FRONTEND=noninteractive; \
	apt="apt-get -q -o Acquire::Retries=5"; \
	for try in 1 2 3; do \
	  if { $$apt update && $$apt install -y --no-install-recommends chromium; } >"$$log" 2>&1; \
	  then rm -f "$$log"; exit 0; fi; \
	  sleep $$((try * 5)); \
	done; \
	echo "Chromium could not be installed:" >&2; tail -n 8 "$$log" >&2; rm -f "$$log"; exit 1

# Only long tests need it: what a bundle says is computed again by R, the proxy's configuration is tried by nginx,
# a process gets another clock by faketime, and pgbouncer hands connections of the database around.
EXTRAS := r-base-core r-cran-lme4 r-cran-haven r-cran-jsonlite nginx-light faketime pgbouncer
r: ## R with lme4, haven and jsonlite, nginx, faketime and pgbouncer, where root may install them
	@command -v Rscript >/dev/null && command -v faketime >/dev/null && test -x /usr/sbin/nginx && test -x /usr/sbin/pgbouncer && \
	  Rscript -e 'library(lme4); library(haven); library(jsonlite)' >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "Some long tests need more programs: sudo apt-get install $(EXTRAS)" >&2; exit 0; fi; \
	echo "Installing R, nginx, faketime and pgbouncer for the long tests (once)"; \
	log=$$(mktemp); export DEBIAN_FRONTEND=noninteractive; \
	apt="apt-get -q -o Acquire::Retries=5"; \
	for try in 1 2 3; do \
	  if { $$apt update && $$apt install -y --no-install-recommends $(EXTRAS); } >"$$log" 2>&1; \
	  then rm -f "$$log"; exit 0; fi; \
	  sleep $$((try * 5)); \
	done; \
	echo "They could not be installed:" >&2; tail -n 8 "$$log" >&2; rm -f "$$log"; exit 1

lint: install-dev ## style, format and types
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m mypy --no-error-summary

# The folder is closed to other users of the machine; the files are open to the users of the containers.
KEYS := secret_key field_key pseudonym_key backup_key metrics_token
secrets: ## the files of secrets/ and the folders backups/ and archive/ for docker-compose.yml; what is there stays
	@install -d -m 0700 secrets backups archive
	@if [ "$$(id -u)" = 0 ]; then chown 10001:10001 backups; chown 999:999 archive; fi
	@umask 022; cd secrets; \
	  for name in $(KEYS); do \
	    [ -e $$name ] || $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(64))' > $$name; done; \
	  for name in postgres_password app_database_password; do \
	    [ -e $$name ] || $(PYTHON) -c 'import secrets; print(secrets.token_hex(32))' > $$name; done; \
	  for name in secret_key_fallbacks field_key_fallbacks email_password oidc_client_secret; do \
	    [ -e $$name ] || : > $$name; done
	@echo "secrets/ has the key files. Keep a copy of them away from this machine, apart from the backups."

bench: install-dev ## runs benchmarks/, one JSON object each
	@for file in $(filter-out $(COVERAGE:%=benchmarks/%.py) benchmarks/documents.py,$(wildcard benchmarks/*.py)); do \
	  PYTHONPATH=. $(PY) "$$file"; done

validation: install-dev ## coverage of intervals and bands in simulated studies; writes their figures in docs/ (minutes)
	@for name in $(COVERAGE); do $(PY) -m benchmarks.$$name; done

drill: install-dev ## kills every part of a whole site, 50 times each among 10,000 forms, and counts what was lost (docs/faults.md)
	@$(PY) -m benchmarks.faults --seconds 600 --forms 10000 --kills 50

mutate: install-dev ## takes the doors away one by one and counts which of it the tests notice (docs/access.md) [ARGS="--sample 60"]
	@$(PY) -m tools.mutate_policy $(ARGS)

messages: install-dev ## collects the words of the pages into the catalogues and compiles them
	@$(PY) -m tools.messages

screenshots: install-dev browser ## a picture of every page into var/screenshots/ [PAGES="caseload form"]
	@unset DATABASE_URL CELERY_BROKER_URL; $(PY) -m tools.screenshots $(PAGES)

lock: ## new requirements*.txt from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH." >&2; exit 1; }
	@lock="uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml"; \
	  $$lock -o requirements.txt; \
	  $$lock --extra dev -c requirements.txt -o requirements-dev.txt

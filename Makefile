# make demo, make test and make ui set up what they need by themselves.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := 0.13.9
DEMO ?= demo
MINIO := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
export PATH := $(PATH):$(HOME)/go/bin

# STORE=minio: the demo is on a MinIO of its own, beside its directory.
ifneq ($(filter-out minio,$(STORE)),)
$(error STORE is minio, or nothing for a directory)
endif
ON_MINIO := $(if $(STORE),$(BIN)/python -m examples.minio $(DEMO)-minio)

.PHONY: help setup demo minio minio-server versitygw-server test test-tflite conformance ui lint types lock clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: .venv/.ready ## the locked environment in .venv

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "edgeloop needs Python 3.11 or later; name one with make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup $(if $(STORE),minio-server) ## the loop on four years of air quality; QUICK=1 for the first year, STORE=minio on MinIO
	$(if $(STORE),rm -rf $(DEMO)-minio)
	$(ON_MINIO) $(BIN)/edgeloop backtest examples/air_quality/loop.toml examples/air_quality/air_quality.parquet \
		--workdir $(DEMO) $(if $(QUICK),--quick) $(if $(STORE),--store s3://edgeloop/demo)

minio: setup minio-server ## a MinIO on loopback, with TLS, until Ctrl-C
	@$(BIN)/python -m examples.minio .edgeloop/minio

minio-server: # its server, from its Go module, if there is none
	@command -v minio >/dev/null || command -v go >/dev/null || \
		{ echo "MinIO's server is built with Go, and there is none here: see https://go.dev/dl, or put a minio on the path"; exit 1; }
	@command -v minio >/dev/null || GOBIN=$(HOME)/go/bin go install $(MINIO)

versitygw-server: # a second S3 server, for the tests
	@command -v versitygw >/dev/null || GOBIN=$(HOME)/go/bin go install $(VERSITYGW)

test: setup ## all tests
	$(BIN)/python -m pytest

# These make releases with a trainer, or ingest, or write the networks: they need the centre.
CENTRE_TESTS := releases rollback updates_machine networks

test-tflite: .venv-tflite/.ready ## the device's tests on tflite-runtime, in an environment of its own
	.venv-tflite/bin/python -m pytest tests/edge_runtime $(CENTRE_TESTS:%=--ignore=tests/edge_runtime/test_%.py)

.venv-tflite/.ready: requirements-tflite.lock | setup
	@for p in python3.11 $(BIN)/python; do \
		$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && $$p -m venv .venv-tflite && exit; done; \
		echo "tflite-runtime needs Python 3.11, and there is none here"; exit 1
	$(BIN)/uv pip sync --quiet --python .venv-tflite/bin/python --require-hashes requirements-tflite.lock
	$(BIN)/uv pip install --quiet --python .venv-tflite/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

# They come with its source distribution, which the lock's hashes are for as well.
conformance: .edgeloop/conformance/.ready ## python-tuf's own tests of its client, on a device's
	cd .edgeloop/conformance && PYTHONPATH=../../tests/conformance ../../$(BIN)/python -m pytest -q -rs -c /dev/null \
		--rootdir . -p no:cacheprovider -p our_client -W ignore::pytest.PytestCollectionWarning \
		$(CLIENT_TESTS:%=tests/test_updater_%.py)

CLIENT_TESTS := top_level_update key_rotations delegation_graphs consistent_snapshot fetch_target

.edgeloop/conformance/.ready: requirements.lock | setup
	rm -rf $(@D) && mkdir -p $(@D)
	sed -n '/^tuf==/,/[^\]$$/p' requirements.lock >$(@D)/tuf.txt
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary tuf --require-hashes --dest $(@D) -r $(@D)/tuf.txt
	tar -xzf $(@D)/tuf-*.tar.gz -C $(@D) --strip-components=1
	rm -r $(@D)/tuf
	@touch $@

ui: setup ## Dagster on what the demo left behind; STORE=minio as for the demo
	$(ON_MINIO) $(BIN)/edgeloop ui $(DEMO)

lint: setup ## style, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy, strict
	$(BIN)/mypy

lock: ## renew requirements.lock from pyproject.toml
	$(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --extra edge --extra replay --extra centre --extra litert --extra mqtt --extra metrics --extra sketches --extra hsm --extra dev --output-file requirements.lock --upgrade
	$(BIN)/uv pip compile pyproject.toml requirements-tflite.in --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --extra tflite --extra replay --extra mqtt --extra metrics --extra sketches --output-file requirements-tflite.lock --upgrade
	rm -f .venv/.ready

clean: ## remove the environment and what the demo left
	rm -rf .venv .venv-tflite $(DEMO) $(DEMO)-minio .edgeloop build *.egg-info

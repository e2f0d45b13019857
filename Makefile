MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install python label-studio browser demo test chaos load check starter lock clean

UV = $(shell command -v uv || echo .tools/uv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate

help:
	@awk -F ' *## ' '/^[a-z]+:.*##/ {sub(/:.*/, "", $$1); printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: python label-studio  ## the environments: .venv and .venv-label-studio

python label-studio browser:
	@.ci/setup $@

demo: install  ## Label Studio with a project that is pre-annotated and ordered; DATA=<COCO directory>, CHECK=1 unattended
	@.venv/bin/mgral demo$(if $(DATA), --data "$(DATA)")$(if $(filter-out 0,$(CHECK)), --check)

test: install browser  ## every test, also against a real Label Studio, Redis and browser
	@.venv/bin/pytest -n 4 --dist loadscope --no-loadscope-reorder

chaos: install  ## every fault of docs/FAULTS.md on real processes, three times each; takes hours
	@.venv/bin/pytest -m chaos

load: install  ## fifty annotators against one backend while a training runs, and the order of 10,000 tasks; ten minutes
	@.venv/bin/python -m bench.load

check: python  ## lint, format, types, import rule
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

starter: python  ## train model/weights/starter.pt anew (starter.json beside it tells how long it took)
	OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m model.synthetic.starter

lock:  ## pin every package anew after a change of pyproject.toml (what still fits keeps its version)
	@.ci/setup uv
	$(COMPILE) pyproject.toml --extra label-studio-ml --extra s3 -o requirements.txt
	$(COMPILE) pyproject.toml --all-extras -c requirements.txt -o requirements-dev.txt
	echo label-studio==1.23.2 | $(COMPILE) - -o requirements-label-studio.txt

clean:  ## remove everything that make made
	rm -rf .venv .venv-label-studio .tools .run build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

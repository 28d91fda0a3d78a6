# One place to see what there is to do: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

.PHONY: help run test quick setup setup-test lint mutants chaos compose-test simulate format sdk lock bench clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: setup ## Sets up what is missing, then runs the whole pipeline here (Ctrl-C stops it)
	@exec $(BIN)/unjoin up

test: setup-test lint ## Sets up what is missing, then passes every test on real parts
	@$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

quick: ## The quick tests that need no broker, server or browser, for while you write
	@$(BIN)/python -m pytest -m "not kafka and not server and not browser and not slow" --numprocesses=2 --dist=loadfile

setup: ## Virtual environment, locked dependencies, Kafka's jars
	@scripts/setup run

setup-test: ## As setup, and what the tests need besides
	@scripts/setup test

lint: ## ruff and strict types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

mutants: ## Breaks each guard on purpose: a test has to turn red for every one of them
	@$(BIN)/python -m mutants

chaos: setup-test ## The real stack under load, a fault a round, every event accounted for (ROUNDS=20 SEED=1)
	@$(BIN)/python -m faults.chaos --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1) $(ARGS)

compose-test: setup-test ## docker-compose.yml, started on images made here, and asked what it promises (root, Debian 12)
	@scripts/stand_in_images
	@time $(BIN)/python -m faults.compose

simulate: ## The pipeline on a seeded clock, network, disk, broker and engine (SEEDS=1000 of each world)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000)

bench: ## The collector, the sink, the door and the whole beside what others would write: tables and plots in OUT
	@scripts/setup bench
	@$(BIN)/python -m bench.collector --growth --out $(or $(OUT),figures)
	@$(BIN)/python -m bench.sink --out $(or $(OUT),figures)
	@$(BIN)/python -m bench.sink --pipeline --out $(or $(OUT),figures)/pipeline
	@$(BIN)/python -m bench.processor --out $(or $(OUT),figures)
	@$(BIN)/python -m bench.throughput --out $(or $(OUT),figures)
	@$(BIN)/python -m bench.storage --out $(or $(OUT),figures)
	@$(BIN)/python -m bench.growth --out $(or $(OUT),figures)

format: ## Formats the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

sdk: ## Builds the browser SDK: sdk/dist/, and ingest/sdk.js, which collectors serve
	@scripts/build_sdk

lock: ## Locks the dependencies anew, with hashes and without addresses
	@scripts/lock

clean: ## Removes what setup made, and the pipeline's state
	@if [ -e .containers ]; then scripts/stand_in_images remove; fi
	rm -rf .venv .kafka .helm .clients .peers .unjoin sdk/node_modules sdk/dist sdk/build tests/segment/node_modules tests/clients/node/node_modules

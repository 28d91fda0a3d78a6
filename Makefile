# One place to see what there is to do: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

.PHONY: help run test setup setup-test lint format lock bench clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: setup ## Sets up what is missing, then runs the whole pipeline here (Ctrl-C stops it)
	@exec $(BIN)/unjoin up

test: setup-test lint ## Sets up what is missing, then passes every test on real parts
	@$(BIN)/python -m pytest

setup: ## Virtual environment, locked dependencies, Kafka's jars
	@scripts/setup run

setup-test: ## As setup, and what the tests need besides
	@scripts/setup test

lint: ## ruff and strict types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: ## Formats the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## Locks the dependencies anew, with hashes and without addresses
	@scripts/lock

clean: ## Removes what setup made, and the pipeline's state
	rm -rf .venv .kafka .unjoin

# Kelvin. `make run` needs Rust and make; `make test` is everything that needs no cluster; `make up` needs Docker, kind,
# kubectl and helm. `make help` lists the rest. Works with GNU make 3.81, which knows no .SHELLFLAGS.
SHELL := bash
.DEFAULT_GOAL := help
# Recipes run what they have built from target/, wherever the caller's own builds go.
unexport CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR

include $(wildcard mk/*.mk)

.PHONY: help run picture build

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## the server and four clients on this machine, live (ARGS="--plain --duration 20s --json")
	@[ -e target/debug/kelvin ] || echo "building Kelvin: two to three minutes the first time on two cores" >&2
	@cargo run --quiet --locked -p kelvin -- demo $(ARGS)

picture: ## regenerate docs/images/demo.svg, README's picture: the terminal UI after one minute
	@cargo run --quiet --locked -p kelvin -- demo --plain --duration 60s --picture docs/images/demo.svg

build: ## release builds of kelvin, kelvin-server and kelvin-client, in target/release
	cargo build --release --locked -p kelvin -p kelvin-server -p kelvin-client

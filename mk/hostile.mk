# Attacks on the release binary, and well-behaved callers close to its limits. The bounds of docs/security.md are those of
# HOSTILE_SECONDS=10 and more; shorter runs allow for a busy machine.
HOSTILE_ROUNDS ?= 1
HOSTILE_SECONDS ?= 2
# `--case NAME` picks some; `--list` names them.
HOSTILE_ARGS ?=
# A server that was built before, as from an image; empty: it is built.
HOSTILE_SERVER ?=

.PHONY: hostile

# With BUILT=target/debug it is the program that `make test` has built.
HOSTILE_BUILDS = $(if $(BUILT),,-p kelvin-hostile) $(if $(HOSTILE_SERVER),,-p kelvin-server)

hostile: ## hostile callers against the release binary (HOSTILE_SECONDS=10 HOSTILE_ROUNDS=3 HOSTILE_ARGS="--case tiny")
	$(if $(strip $(HOSTILE_BUILDS)),cargo build --release --locked $(HOSTILE_BUILDS))
	$(or $(BUILT),target/release)/kelvin-hostile $(addprefix --server ,$(HOSTILE_SERVER)) --rounds $(HOSTILE_ROUNDS) --seconds $(HOSTILE_SECONDS) $(HOSTILE_ARGS)

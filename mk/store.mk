# Tests that take minutes: `make test` lists them as ignored and succeeds, also where CI is set. `.ci/run` runs `make faults`, and
# `make nightly` runs both.
.PHONY: faults rolling

within_30_minutes = $(if $(shell command -v timeout),timeout 1800)

faults: ## fault injection: whether acknowledged readings survive when Valkey, a server or the network fails (ROUNDS=10)
	@$(within_30_minutes) cargo test --quiet --locked -p kelvin-server --test faults -- --ignored --nocapture

rolling: ## rolling updates as seen by tonic, grpc-go and grpcio clients that do not retry (ROLLS=20)
	@$(within_30_minutes) cargo test --quiet --locked -p kelvin-server --test rolling -- --ignored --nocapture

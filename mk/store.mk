.PHONY: faults rolling

faults: ## fault injection: whether acknowledged readings survive when Valkey, a server or the network fails (ROUNDS=10)
	@ROUNDS=$(or $(ROUNDS),1) $(if $(shell command -v timeout),timeout 1800) cargo test --quiet --locked -p kelvin-server --test faults

rolling: ## rolling updates as seen by tonic, grpc-go and grpcio clients that do not retry (ROLLS=20)
	@ROLLS=$(or $(ROLLS),20) $(if $(shell command -v timeout),timeout 1800) cargo test --quiet --locked -p kelvin-server --test rolling

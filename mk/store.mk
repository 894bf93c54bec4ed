.PHONY: faults rolling

faults: ## what becomes of acknowledged readings when Valkey, a server or the network fails (ROUNDS=10)
	@ROUNDS=$(or $(ROUNDS),1) $(if $(shell command -v timeout),timeout 1800) cargo test --quiet --locked -p kelvin-server --test faults

rolling: ## what clients of tonic, grpc-go and grpcio, which do not retry, see of rolling updates (ROLLS=20)
	@ROLLS=$(or $(ROLLS),20) $(if $(shell command -v timeout),timeout 1800) cargo test --quiet --locked -p kelvin-server --test rolling

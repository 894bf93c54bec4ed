.PHONY: faults

faults: ## what becomes of acknowledged readings when Valkey, a server or the network fails (ROUNDS=10)
	@ROUNDS=$(or $(ROUNDS),1) $(if $(shell command -v timeout),timeout 1800) cargo test --quiet --locked -p kelvin-server --test faults

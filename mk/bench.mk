.PHONY: bench

bench: ## Kelvin against a bare tonic service, on two cores (ARGS="--only get --check")
	cargo run --release --locked -p kelvin-bench -- $(ARGS)

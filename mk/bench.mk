.PHONY: bench

bench: ## Kelvin against a bare tonic service, on two cores (ARGS="--only get --check")
	cargo run --release --locked -p kelvin-bench -- $(ARGS)

.PHONY: bench-valkey

bench-valkey: ## Kelvin on Valkey, on two cores, against valkey-benchmark (ARGS=--check)
	cargo build --release --locked -p kelvin-bench --bin valkey
	target/release/valkey $(ARGS)

.PHONY: million

million: ## a million sensors with an hour of history on one server, 2 GiB and two cores (ARGS="--check --sensors 100000")
	cargo build --release --locked -p kelvin-bench --bin million
	target/release/million $(ARGS)

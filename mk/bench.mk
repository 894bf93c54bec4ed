.PHONY: bench

bench: ## Kelvin against tuned tonic, bare h2 and grpc-go, on two cores (BASE=COMMIT ARGS="--only get --check")
	cargo build --release --locked -p kelvin-server -p kelvin-bench --bin kelvin-server --bin kelvin-bench
	mk/bench '$(BASE)' $(ARGS)

.PHONY: bench-valkey

bench-valkey: ## Kelvin on Valkey, on two cores, against valkey-benchmark (ARGS=--check)
	cargo build --release --locked -p kelvin-bench --bin valkey
	target/release/valkey $(ARGS)

.PHONY: million

million: ## a million sensors with an hour of history on one server, 2 GiB and two cores (ARGS=--check, or ARGS="--valkey --sensors 100000")
	cargo build --release --locked -p kelvin-bench --bin million
	target/release/million $(ARGS)

.PHONY: instructions

instructions: ## instructions per operation of kelvin-server, by callgrind: repeatable on a busy machine (SERVERS="PATH…")
	cargo build --release --locked -p kelvin-server -p kelvin
	mk/instructions $(or $(SERVERS),target/release/kelvin-server)

# What belongs to crates/grpc-otel alone.

.PHONY: differential
differential: ## Compare grpc-otel's metrics and spans with those of grpc-go's plugin (needs go)
	cargo test --quiet --package grpc-otel --test it differential:: -- --ignored --nocapture

.PHONY: otel-cost
otel-cost: ## Overhead of grpc-otel per call in instructions and time, compared with grpc-go's plugin (needs valgrind, and go for the comparison; ARGS="--only unary --rounds 50")
	@if command -v go >/dev/null; then cd crates/bench/go && go build -o $(CURDIR)/target/bench/grpc-go .; \
	  else mk/not-run go "grpc-go: go is not installed"; fi
	cargo run --release --locked --package kelvin-bench --bin otel_cost -- \
	  $(if $(shell command -v go),--go target/bench/grpc-go) $(ARGS)

MSRV = $(shell sed -n 's/^rust-version = "\(.*\)".*/\1/p' crates/grpc-otel/Cargo.toml)
.PHONY: msrv
msrv: ## Compile grpc-otel with its minimum supported Rust version (needs rustup)
	cargo +$(MSRV) check --locked --package grpc-otel --all-features

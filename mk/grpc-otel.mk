# What belongs to crates/grpc-otel alone.

.PHONY: differential
differential: ## Compare grpc-otel's metrics with those of grpc-go's plugin (needs go)
	cargo run --quiet --package grpc-otel --example differential --features bound-instruments,deadline

# Everything that needs no cluster. Each part can be run alone.
CARGO_DENY_VERSION := 0.20.2

# What tests report as not run; `not_run` shows it again at the end.
NOT_RUN_FILE := $(CURDIR)/target/not-run
export NOT_RUN_FILE
not_run = ! test -s $(NOT_RUN_FILE) || sort -u $(NOT_RUN_FILE)

.PHONY: test test-begin test-shell test-format test-lint test-deny test-rust test-docs audit

test: test-begin test-shell test-format test-lint test-deny test-docs test-rust ## all tests that need no cluster
	@$(not_run)

test-begin:
	@rm -f $(NOT_RUN_FILE)

test-shell: ## shellcheck
	@mk/tools shellcheck
	shellcheck .ci/run $(filter-out %.mk,$(wildcard mk/*))

test-format: ## rustfmt
	cargo fmt --all --check

test-lint: ## clippy, pedantic
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: cargo-deny
cargo-deny:
	@cargo deny --version 2>/dev/null | grep -qF $(CARGO_DENY_VERSION) \
	  || { echo "installing cargo-deny $(CARGO_DENY_VERSION): takes a few minutes, the first time only" >&2; \
	       CARGO_PROFILE_DEV_DEBUG=none cargo install --quiet --locked --debug cargo-deny@$(CARGO_DENY_VERSION); }

test-deny: cargo-deny ## licences, sources and banned crates
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

audit: cargo-deny ## known vulnerabilities; needs the internet
	cargo deny --locked check advisories

test-docs: ## documentation builds without a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

test-rust: ## unit, integration and documentation tests
	cargo test --workspace --locked --no-fail-fast

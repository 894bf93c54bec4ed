# What takes too long for every change. Parts that need a cluster expect `make up STORE=valkey` to have run.
FUZZ_SECONDS ?= 300
# The Helm 3.17 that renders the chart in `make test-helm3`.
HELM3 ?= helm3
# A tag or commit to compare grpc-otel's API with; empty: none is published yet.
SEMVER_BASELINE ?=

.PHONY: nightly nightly-cluster fuzz h2spec test-helm3 test-publish test-semver test-workflows

nightly: test-begin test-workflows audit test-publish test-semver test-helm3 fuzz h2spec differential ## slow checks that need no cluster
	$(MAKE) hostile HOSTILE_ROUNDS=3 HOSTILE_SECONDS=10
	$(MAKE) faults ROUNDS=10
	$(MAKE) rolling
	$(MAKE) million ARGS=--check
	@$(not_run)

nightly-cluster: scale upgrade ## slow checks that need a cluster, after `make up STORE=valkey`

test-workflows: ## actionlint and zizmor
	@mk/tools actionlint zizmor
	actionlint
	zizmor --offline --no-progress --min-severity low .github

test-publish: ## package and compile grpc-otel as it would be published
	cargo publish --dry-run --locked --package grpc-otel $(if $(CI),,--allow-dirty)

test-semver: ## check grpc-otel's API for breaking changes since SEMVER_BASELINE (needs cargo-semver-checks)
ifeq ($(SEMVER_BASELINE),)
	@mk/not-run semver-baseline "cargo semver-checks: SEMVER_BASELINE is not set"
else
	cargo semver-checks --package grpc-otel --baseline-rev $(SEMVER_BASELINE)
endif

test-helm3: ## the chart's tests with Helm 3.17, the oldest version supported (HELM3=helm3)
	@mk/tools $(HELM3)
	@NOT_HERE="$(NOT_HERE) helm-4" mk/with-helm "$(HELM3)" $(MAKE) --no-print-directory test-chart

fuzz: ## the fuzz targets, FUZZ_SECONDS each (needs nightly Rust and cargo-fuzz)
	@mk/fuzz $(FUZZ_SECONDS)

h2spec: ## HTTP/2 conformance of the server, over TLS
	@mk/tools h2spec openssl
	cargo build --quiet --locked -p kelvin-server -p kelvin
	@mk/h2spec target/debug

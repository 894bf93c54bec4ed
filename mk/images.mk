# The container images.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
REVISION := $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)
IMAGE_TAG ?= $(VERSION)
IMAGES := kelvin-server:$(IMAGE_TAG) kelvin-client:$(IMAGE_TAG)
# The builder image, and the runtime base image and its digest (`sha256:...`). The release workflow pins both by digest.
RUST_IMAGE ?= rust:1.95-trixie
RUNTIME_IMAGE ?= gcr.io/distroless/cc-debian13:nonroot
RUNTIME_DIGEST ?=
# Where `make push` and `make package-chart` put and expect the images.
REGISTRY ?=
# The time of the last change to what the images contain: a commit of documentation leaves the images as they are.
SOURCE_DATE_EPOCH = $(or $(shell git log -1 --format=%ct -- Cargo.toml Cargo.lock Dockerfile crates proto 2>/dev/null),0)
BUILD_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
  --build-arg RUST_IMAGE=$(RUST_IMAGE) --build-arg RUNTIME_IMAGE=$(RUNTIME_IMAGE) --build-arg RUNTIME_DIGEST=$(RUNTIME_DIGEST)

.PHONY: images image-server image-client image-cli build-args push package-chart repository release-notes dist

images: image-server image-client ## build both container images; prints how long it took and how big they are

image-server image-client image-cli: image-%:
	@mk/tools docker
	@mk/image $* kelvin-$*:$(IMAGE_TAG) $(BUILD_ARGS)

build-args: # for a builder other than `make images`
	@printf '%s\n' $(filter-out --build-arg,$(BUILD_ARGS))

push: ## push the images, tagged with version and revision (REGISTRY=registry.example.org/sensors)
	@mk/push '$(REGISTRY)' $(VERSION) $(REVISION)
	@$(MAKE) --no-print-directory image-server image-client image-cli
	@mk/push '$(REGISTRY)' $(VERSION) $(REVISION) $(IMAGES) kelvin-cli:$(IMAGE_TAG)

package-chart: ## package the chart into target/dist, with REGISTRY, SERVER_DIGEST and CLIENT_DIGEST as its defaults
	@mk/tools helm
	@mk/package-chart target/dist $(VERSION) '$(REGISTRY)' '$(SERVER_DIGEST)' '$(CLIENT_DIGEST)'

repository: ## make OWNER the owner in the repository's addresses on GitHub and GHCR (OWNER=acme)
	@mk/repository '$(OWNER)'

release-notes: # the CHANGELOG's section of this version
	@mk/release-notes $(VERSION)

dist: build ## the release binaries of this platform, archived in target/dist
	@mk/dist target/dist $(VERSION)

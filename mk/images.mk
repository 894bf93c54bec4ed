# The container images.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
REVISION := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
IMAGE_TAG ?= $(VERSION)
IMAGES := kelvin-server:$(IMAGE_TAG) kelvin-client:$(IMAGE_TAG)

.PHONY: images image-server image-client image-cli

images: image-server image-client ## build both container images; says how long it took and how big they are

# Own layers are those that this Dockerfile copies into the base image.
image-server image-client image-cli: image-%:
	@docker info >/dev/null 2>&1 || { echo "no Docker engine answers: start one, then \`docker info\` must work" >&2; exit 1; }
	@start=$$SECONDS; image=kelvin-$*:$(IMAGE_TAG); \
	DOCKER_BUILDKIT=1 docker build --target $* --tag $$image \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .; \
	own=$$(docker history --human=false --format '{{.Size}} {{.CreatedBy}}' $$image | awk '/COPY .out/ {n += $$1} END {print n}'); \
	all=$$(docker image inspect --format '{{.Size}}' $$image); \
	packed=$$(docker save $$image | gzip -c | wc -c); \
	awk -v image=$$image -v s=$$((SECONDS - start)) -v own=$$own -v all=$$all -v packed=$$packed 'BEGIN { \
	  printf "%s: %d s, own layers %.1f MB, image %.1f MB, compressed %.1f MB\n", image, s, own/1e6, all/1e6, packed/1e6}'

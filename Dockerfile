# Images of the server and the client: `make images`, or `docker build --target server .`; that of the `kelvin` command,
# with which a cluster is put under load from inside: `make image-cli`.
# The base images. The release workflow pins both by digest (`sha256:...`).
ARG RUST_IMAGE=rust:1.95-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot
ARG RUNTIME_DIGEST=

FROM ${RUST_IMAGE} AS rust
WORKDIR /src

# The workspace with every target emptied. A change of sources leaves the result of this stage as it was, and with it
# the layer of compiled dependencies below.
FROM rust AS manifests
COPY . .
RUN cargo metadata --no-deps --offline --format-version 1 \
      | grep -o '"src_path":"[^"]*"' | cut -d'"' -f4 | sort -u > /targets \
    && find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && while read -r target; do echo 'fn main() {}' > "$target"; done < /targets \
    && find . -type d -empty -delete

FROM rust AS build
# Neither the folder of the build nor the machine's cargo home shows in the binaries.
ENV RUSTFLAGS="--remap-path-prefix=/src=kelvin --remap-path-prefix=/usr/local/cargo/registry/src=registry"
COPY --from=manifests /src .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo build --release --locked -p kelvin-server -p kelvin-client
COPY . .
# cargo goes by the time of change, which is older here than the emptied files that were built above.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p kelvin-server -p kelvin-client
ARG SOURCE_DATE_EPOCH=0
# One tree for each image, folders included: COPY would give those that it creates the time of the build, and with it the
# layer another digest.
RUN install -Dt /out/server/usr/local/bin target/release/kelvin-server \
    && install -Dt /out/client/usr/local/bin target/release/kelvin-client \
    && find /out -exec touch --date="@$SOURCE_DATE_EPOCH" {} +

FROM build AS build-cli
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo build --release --locked -p kelvin \
    && install -Dt /out/cli/usr/local/bin target/release/kelvin \
    && find /out -exec touch --date="@$SOURCE_DATE_EPOCH" {} +

FROM ${RUNTIME_IMAGE}${RUNTIME_DIGEST:+@$RUNTIME_DIGEST} AS runtime
USER 65532:65532
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.licenses=Apache-2.0

FROM runtime AS cli
LABEL org.opencontainers.image.title=kelvin-cli \
      org.opencontainers.image.description="Demo, certificates and load"
COPY --from=build-cli /out/cli /
ENTRYPOINT ["/usr/local/bin/kelvin"]

FROM runtime AS client
LABEL org.opencontainers.image.title=kelvin-client \
      org.opencontainers.image.description="Four kinds of sensor, one for each gRPC call type"
COPY --from=build /out/client /
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/local/bin/kelvin-client", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/kelvin-client"]

FROM runtime AS server
LABEL org.opencontainers.image.title=kelvin-server \
      org.opencontainers.image.description="Collects temperature readings over gRPC"
COPY --from=build /out/server /
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/local/bin/kelvin-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/kelvin-server"]

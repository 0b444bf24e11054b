# Base images are pinned by full version. To pin a digest as well, look it up where the registry can be reached,
#
#   docker buildx imagetools inspect rust:1.95.0-slim-bookworm
#
# and append it to the tag: rust:1.95.0-slim-bookworm@sha256:… . A pinned digest cannot be replaced by .ci/base-images.
# The Rust version is that of rust-toolchain.toml.

# Stage 1: the manifests, with every target that they name. What depends on them alone is cached until they change.
FROM rust:1.95.0-slim-bookworm AS manifests
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/attacks benches/feed benches/forward benches/throughput tests/it && touch src/lib.rs benches/pure.rs \
        benches/attacks/main.rs benches/feed/main.rs benches/forward/main.rs benches/throughput/main.rs tests/it/main.rs \
    && echo 'fn main() {}' >src/main.rs

# Stage 2: the binary. The dependencies are built first, without the source, so that a change of the source does not
# rebuild them.
FROM manifests AS build
# as Cargo.toml says, if they are not given: `make container-test` builds in less time
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
RUN cargo build --release --locked --no-default-features --features opentelemetry && rm -r src
# the commit in --version, since there is no .git here: --build-arg TICKET_WEBHOOKS_COMMIT=$(git rev-parse HEAD)
ARG TICKET_WEBHOOKS_COMMIT
COPY build.rs build.rs
COPY migrations migrations
COPY assets assets
COPY templates templates
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --no-default-features --features opentelemetry
RUN mkdir -p /root-of-image/var/lib/ticket-webhooks

# Stage 3: the service: its binary and the certificates of public authorities. It needs no shell and writes only to
# /var/lib/ticket-webhooks.
FROM debian:bookworm-20260824-slim AS service
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /root-of-image/var/lib/ticket-webhooks /var/lib/ticket-webhooks
COPY --from=build /build/target/release/ticket-webhooks /usr/local/bin/ticket-webhooks
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s CMD ["/usr/local/bin/ticket-webhooks", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ticket-webhooks"]
CMD ["serve"]

# Stage 4: the bill of materials (CycloneDX).
FROM rust:1.95.0-slim-bookworm AS sbom
RUN cargo install --locked --debug cargo-cyclonedx@0.5.9
WORKDIR /build
COPY --from=manifests /build ./
RUN cargo cyclonedx --format json --spec-version 1.5 --override-filename sbom.cdx

# Stage 5: the image: the service with its bill of materials.
FROM service AS image
COPY --from=sbom /build/sbom.cdx.json /usr/share/doc/ticket-webhooks/sbom.cdx.json

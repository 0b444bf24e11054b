# Stage 1: what the binary is made of, as CycloneDX. It needs the manifests alone, and so is made again only with them.
FROM rust:1-slim-bookworm AS sbom
RUN cargo install --locked --debug cargo-cyclonedx@0.5.9
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/attacks benches/throughput tests/it \
    && touch src/lib.rs src/main.rs benches/pure.rs benches/attacks/main.rs benches/throughput/main.rs tests/it/main.rs \
    && cargo cyclonedx --format json --spec-version 1.5 --override-filename sbom.cdx

# Stage 2: the binary. The dependencies are built first, apart from the source, so that a change of the source alone
# does not build them again.
FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/attacks benches/throughput tests/it && touch src/lib.rs \
    && echo 'fn main() {}' \
       | tee src/main.rs benches/pure.rs benches/attacks/main.rs benches/throughput/main.rs tests/it/main.rs \
    && cargo build --release --locked --no-default-features --features opentelemetry && rm -r src
# the commit that --version names: docker build --build-arg TICKET_WEBHOOKS_COMMIT=$(git rev-parse --short=7 HEAD)
ARG TICKET_WEBHOOKS_COMMIT
COPY build.rs build.rs
COPY migrations migrations
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --no-default-features --features opentelemetry
RUN mkdir -p /root-of-image/var/lib/ticket-webhooks

# Stage 3: the binary, the certificates of public authorities, and the list of what is in it. It needs no shell, writes
# nothing outside of /var/lib/ticket-webhooks, and runs as nobody in particular.
FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /root-of-image/var/lib/ticket-webhooks /var/lib/ticket-webhooks
COPY --from=sbom /build/sbom.cdx.json /usr/share/doc/ticket-webhooks/sbom.cdx.json
COPY --from=build /build/target/release/ticket-webhooks /usr/local/bin/ticket-webhooks
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s CMD ["/usr/local/bin/ticket-webhooks", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ticket-webhooks"]
CMD ["serve"]

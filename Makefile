# `make dev` and `make test` work on a fresh machine: they install the PostgreSQL server programs where they are
# missing. They neither start nor use a Postgres of the system.

.DEFAULT_GOAL := help
.PHONY: help dev test search-test cost-test torture fuzz lint deny bench bench-pure feed-bench forward-bench attacks image up cluster-images container-test alerts-test \
        server-programs clock-library browser

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s%s\n", $$1, $$2}'

dev: server-programs ## run the service with a private Postgres and demo accounts
	cargo run --locked -- dev

# many tests wait rather than compute: two for each core; those in a browser compute, and run by themselves
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN || echo 1))))
test: server-programs clock-library browser ## run all tests that need only a toolchain and Postgres
	cargo test --locked --all-features -- --skip console::
	cargo test --locked --all-features --test it console::
	$(MAKE) cost-test

search-test: server-programs ## ask every question, and for every page, over 5 million events; needs minutes and 14 GB of disk
	cargo test --locked --all-features --test it search::plans:: -- --include-ignored --nocapture
	cargo test --locked --all-features --test it console::speed:: -- --include-ignored --nocapture

# optimized, as CPU time says nothing otherwise, but not across crates: that takes minutes, and the limit is relative
cost-test: export CARGO_PROFILE_RELEASE_LTO = off
cost-test: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS = 16
cost-test: export CARGO_PROFILE_RELEASE_DEBUG = none
cost-test: ## measure the CPU time of hostile bodies; prints the worst of each family
	cargo test --locked --release --test cost -- --nocapture --test-threads=1

torture: export TORTURE_ROUNDS ?= 100
torture: server-programs clock-library ## inject one fault after the other under load (TORTURE_ROUNDS=100)
	cargo test --locked --release --test it torture:: -- --nocapture

# New inputs go to fuzz/found. A crash goes to fuzz/artifacts; move it to fuzz/corpus once it is fixed.
fuzz: FUZZ_SECONDS ?= 900
fuzz: ## run each fuzz target (FUZZ_SECONDS=900, TARGETS=order_ticketed for one); needs a nightly toolchain
	cargo fuzz --version || cargo install --locked cargo-fuzz
	set -e; for target in $(or $(TARGETS),$$(cargo +nightly fuzz list)); do \
	  mkdir -p fuzz/found/$$target; \
	  cargo +nightly fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- -dict=fuzz/$$target.dict \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -rss_limit_mb=2048; \
	done

bench: server-programs ## measure throughput and latency against pgbench (ARGS=--quick)
	cargo bench --locked --bench throughput -- $(ARGS)

feed-bench: server-programs ## measure the feed, and what its readers cost (ARGS="--before /path/to/another/binary")
	cargo bench --locked --bench feed -- $(ARGS)

forward-bench: server-programs ## measure forwarding, and what an outage of the receiver costs (ARGS=--quick)
	cargo bench --locked --bench forward -- $(ARGS)

attacks: server-programs ## measure what one sender costs the others (ARGS="--before /path/to/another/binary")
	cargo bench --locked --bench attacks -- $(ARGS)

bench-pure: ## measure authenticating, parsing and normalizing alone
	cargo bench --locked --bench pure -- $(ARGS)

IMAGE ?= ticket-webhooks
# host: on some engines a build has no network of its own
DOCKER_BUILD = docker build --network=host
# tried three times: some engines lose a layer that they have just made; the others are cached
build_image = build="$(DOCKER_BUILD) $(1)"; $$build || $$build || $$build

image: ## build the container image (IMAGE=ticket-webhooks)
	$(call build_image,--build-arg TICKET_WEBHOOKS_COMMIT=$$(git rev-parse HEAD 2>/dev/null) -t $(IMAGE) .)

cluster-images: ## build the images of ops/patroni/compose.yaml: etcd, and Postgres with Patroni
	set -e; for target in etcd patroni; do \
	  $(call build_image,--target $$target -t ticket-webhooks-$$target ops/patroni); \
	done

COMPOSE = $$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

up: image ## start Postgres, two replicas and HAProxy (compose.yaml)
	$(COMPOSE) up

# tests/it/operation/containers.rs. Two things take minutes that change nothing there: this image has no bill of materials,
# and its binary is not optimized across crates.
container-test: TEST_TARGET ?= service
container-test: TEST_IMAGE_OPTIONS = --quiet --target $(TEST_TARGET) --build-arg CARGO_PROFILE_RELEASE_LTO=off --build-arg CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
container-test: export TICKET_WEBHOOKS_IMAGE = ticket-webhooks-test
container-test: ## test rolling restarts, crashes and failovers in containers; skipped without a Docker engine
	@if ! docker info >/dev/null 2>&1; then \
	  echo "SKIPPED: no Docker engine answers here, so nothing was tested in containers"; exit 0; fi; \
	set -e; $(MAKE) image IMAGE=$(TICKET_WEBHOOKS_IMAGE) DOCKER_BUILD="$(DOCKER_BUILD) $(TEST_IMAGE_OPTIONS)"; \
	$(call build_image,--quiet -t ticket-webhooks-test-pgbouncer tests/it/operation/containers/pgbouncer); \
	$(MAKE) cluster-images DOCKER_BUILD="$(DOCKER_BUILD) --quiet"; \
	cargo test --locked --all-features --test it containers:: -- --ignored --nocapture

# promtool on the rules, then a real Prometheus beside the service: tests/it/operation/alerts.rs
alerts-test: server-programs ## cause every alert and see it fire; skipped without Prometheus
	@if ! command -v promtool >/dev/null; then \
	  echo "SKIPPED: no Prometheus here (Debian: apt-get install prometheus), so the alerts were not tested"; exit 0; fi; \
	set -e; promtool check rules ops/alerts.yml; promtool test rules ops/alerts_test.yml; \
	cargo test --locked --all-features --test it alerts:: -- --ignored --nocapture

lint: ## check format, lints and documentation
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features

deny: export CHECKS ?= bans licenses sources
deny: ## check licences, sources and duplicates of dependencies (deny.toml; CHECKS=advisories needs a network)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check $(CHECKS)

# libfaketime sets the clock of a process; where it cannot be installed, tests that need it say that they are skipped
clock-library:
	@if ls /usr/lib/*/faketime/libfaketime.so.1 /usr/local/lib/faketime/libfaketime.so.1 2>/dev/null | grep -q . \
	      || ! command -v apt-get >/dev/null; then exit 0; fi; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); echo "installing libfaketime"; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq faketime >/dev/null || true

# the console is tested in a real browser
browser:
	@if command -v chromedriver >/dev/null || ! command -v apt-get >/dev/null; then exit 0; fi; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); echo "installing chromium"; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null

server-programs:
	@if ls /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql@*/bin/initdb \
	      /usr/local/opt/postgresql@*/bin/initdb 2>/dev/null | grep -q . || command -v initdb >/dev/null; then exit 0; fi; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	if command -v brew >/dev/null; then brew install postgresql@17; \
	elif command -v apt-get >/dev/null; then \
	  echo "installing the PostgreSQL server programs"; \
	  $$sudo mkdir -p /etc/postgresql-common/createcluster.d; \
	  echo "create_main_cluster = false" | $$sudo tee /etc/postgresql-common/createcluster.d/no-main-cluster.conf >/dev/null; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq postgresql >/dev/null; \
	else echo "PostgreSQL's server programs (initdb, postgres; 14 or later) are needed: install them with this system's package manager"; exit 1; fi

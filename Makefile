# The two commands for a fresh machine are `make dev` and `make test`: both install the PostgreSQL server programs where
# they are missing. No server of the system is started or used.

.PHONY: dev test cost-test torture fuzz lint deny bench bench-pure attacks image up container-test alerts-test server-programs \
        clock-library

dev: server-programs
	cargo run --locked -- dev

test: server-programs clock-library
	cargo test --locked --all-features
	$(MAKE) cost-test

# what a hostile body costs, which only the release profile can say: it prints the worst of each family
cost-test:
	cargo test --locked --release --test cost -- --nocapture --test-threads=1

# breaks one thing after the other under load: make torture TORTURE_ROUNDS=1000
torture: export TORTURE_ROUNDS ?= 100
torture: server-programs clock-library
	cargo test --locked --release --test it torture:: -- --nocapture

# make fuzz FUZZ_SECONDS=60: each target for so long, with a nightly toolchain; what is new goes to fuzz/found, and a
# crash to fuzz/artifacts, from where it belongs into fuzz/corpus once it is mended
fuzz: FUZZ_SECONDS ?= 900
fuzz:
	cargo fuzz --version || cargo install --locked cargo-fuzz
	set -e; for target in $$(cargo +nightly fuzz list); do \
	  mkdir -p fuzz/found/$$target; \
	  cargo +nightly fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- -dict=fuzz/$$target.dict \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -rss_limit_mb=2048; \
	done

# make bench ARGS=--quick
bench: server-programs
	cargo bench --locked --bench throughput -- $(ARGS)

# what strangers, a test account and one provider can do to the rest: make attacks ARGS="--before /path/to/another/binary"
attacks: server-programs
	cargo bench --locked --bench attacks -- $(ARGS)

bench-pure:
	cargo bench --locked --bench pure -- $(ARGS)

IMAGE ?= ticket-webhooks
# an image build need not have a network of its own
DOCKER_BUILD = docker build --network=host

# several times: an engine may lose a layer that it has just made, and has the others still
image:
	$(DOCKER_BUILD) -t $(IMAGE) . || $(DOCKER_BUILD) -t $(IMAGE) . || $(DOCKER_BUILD) -t $(IMAGE) .

COMPOSE = $$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# Postgres, two replicas and HAProxy: compose.yaml
up: image
	$(COMPOSE) up

# rolling restart, a replica killed, Postgres failed over …: tests/it/operation/containers.rs
container-test:
	@if ! docker info >/dev/null 2>&1; then \
	  echo "SKIPPED: no Docker engine answers here, so nothing was proved in containers"; exit 0; fi; \
	set -e; $(MAKE) image DOCKER_BUILD="$(DOCKER_BUILD) --quiet"; \
	pooler="$(DOCKER_BUILD) --quiet -t ticket-webhooks-test-pgbouncer tests/it/operation/containers/pgbouncer"; $$pooler || $$pooler; \
	cargo test --locked --all-features --test it containers:: -- --ignored --nocapture

# promtool on the rules; then Prometheus beside the service, and everything caused that there is an alert for
alerts-test: server-programs
	@if ! command -v promtool >/dev/null; then \
	  echo "SKIPPED: no Prometheus here (Debian: apt-get install prometheus), so the alerts were not tested"; exit 0; fi; \
	set -e; promtool check rules ops/alerts.yml; promtool test rules ops/alerts_test.yml; \
	cargo test --locked --all-features --test it alerts:: -- --ignored --nocapture

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings

# what may be depended on (deny.toml); installs cargo-deny where it is missing, which takes minutes. Known
# vulnerabilities, where there is a network: make deny CHECKS=advisories
deny: export CHECKS ?= bans licenses sources
deny:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check $(CHECKS)

# what sets the clock for a test; where it cannot be installed, those tests say that they are left out
clock-library:
	@if ls /usr/lib/*/faketime/libfaketime.so.1 /usr/local/lib/faketime/libfaketime.so.1 2>/dev/null | grep -q . \
	      || ! command -v apt-get >/dev/null; then exit 0; fi; \
	sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); echo "installing libfaketime"; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq faketime >/dev/null || true

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

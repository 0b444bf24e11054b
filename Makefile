# The two commands for a fresh machine are `make dev` and `make test`: both install the PostgreSQL server programs where
# they are missing. No server of the system is started or used.

.PHONY: dev test torture lint deny bench bench-pure server-programs

dev: server-programs
	cargo run --locked -- dev

test: server-programs
	cargo test --locked

# breaks one thing after the other under load: make torture TORTURE_ROUNDS=1000
torture: export TORTURE_ROUNDS ?= 100
torture: server-programs
	cargo test --locked --release --test it torture:: -- --nocapture

# make bench ARGS=--quick
bench: server-programs
	cargo bench --locked --bench throughput -- $(ARGS)

bench-pure:
	cargo bench --locked --bench pure -- $(ARGS)

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

# what may be depended on (deny.toml); installs cargo-deny where it is missing, which takes minutes. Known
# vulnerabilities, where there is a network: make deny CHECKS=advisories
deny: export CHECKS ?= bans licenses sources
deny:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check $(CHECKS)

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

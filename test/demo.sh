#!/bin/bash
# Two minutes with the gate: a private engine, registry and Notary; an image is signed; what is signed is pulled and runs,
# everything else is refused. Nothing of this machine's own Docker is touched, and nothing is left behind but the compiled
# plugin. Fails if anything is allowed or refused that should not be.
set -euo pipefail
. "$(dirname "$0")/rig/lib.sh"
# shellcheck source=rig/machine.sh
. "$here/machine.sh"

if [[ -t 1 ]]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' green='' red='' dim='' plain=''; fi

steps=5 step=0
progress() {
    step=$((step + 1))
    printf '%s[%s/%s]%s %s %s(after %s s)%s\n' "$bold" "$step" "$steps" "$plain" "$*" "$dim" "$SECONDS" "$plain"
}

# in_demo COMMAND...: inside the machine, with the images' words at hand
# shellcheck disable=SC2016  # expanded there
in_demo() { inside "$RIG" bash -c '. "$RIG_TOOLS/images.sh" && "$@"' demo "$@"; }

# show WHAT allowed|refused COMMAND...: the command as typed, its outcome, and whether that is right
show() {
    local what=$1 due=$2 output status=0 denial
    shift 2
    printf '\n%s%s%s\n%s$ %s%s\n' "$bold" "$what" "$plain" "$dim" "$*" "$plain"
    output=$(inside "$RIG" "$@" 2>&1) || status=$?
    # dockerd answers a refusal with the plugin's words; curl, that prints them, does not fail.
    denial=$(grep -o 'authorization denied by plugin.*' <<< "$output" | sed 's/"}$//') || true
    if [[ -n $denial ]]; then
        printf '%s\n' "$denial"
        printf '%s  refused%s\n' "$red" "$plain"
        [[ $due = refused ]] || die "it should have been allowed"
    else
        printf '%s\n' "$output" | tail -n 3
        ((status == 0)) || die "it failed, but the gate did not refuse it"
        printf '%s  allowed%s\n' "$green" "$plain"
        [[ $due = allowed ]] || die "it should have been refused"
    fi
}

RIG=''
finish() {
    if (($1)); then
        printf '\nThe demo did not end well. The last that was logged:\n'
        tail -qn 10 "$RIG"/log/*.log 2> /dev/null || true
    fi
    [[ -z $RIG ]] || machine_stop "$RIG"
    rm -rf "$RIG"
    (($1)) || printf '%sEverything is stopped and removed, after %s s.%s\n' "$bold" "$SECONDS" "$plain"
}
on_exit finish

need_root
progress "packages, and the plugin compiled from this repository"
packages "${engine_packages[@]}" "${service_packages[@]}" make:make
attended "$here/rootfs.sh" compile

RIG=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
progress "a private engine, two registries and a Notary server"
machine_start "$RIG" sealed
inside "$RIG" "$here/services.sh" start
inside "$RIG" "$here/engine.sh" start

progress "images: made, pushed, two of them signed (docker trust, notary)"
attended inside "$RIG" bash "$here/fixture.sh" > "$RIG/log/fixture.log" 2>&1

progress "the plugin: created, set (REGISTRY, NOTARY, NOTARY_ROOT_CA), enabled, named in daemon.json"
attended inside "$RIG" "$here/install.sh" > "$RIG/log/install.log" 2>&1

progress "what it lets through, and what not"
show "A signed image is pulled" allowed docker pull registry.test:5000/app:1.0
show "and runs." allowed docker run --network none registry.test:5000/app:1.0
show "One that nobody signed is not." refused docker pull registry.test:5000/plain:1.0
show "Nor is one of a registry that is not allowed." refused docker pull foreign.test:5001/app:1.0
in_demo make_image evil:1.0 "evil content" > /dev/null
inside "$RIG" docker tag evil:1.0 registry.test:5000/app:1.0
show "The signed name on other content: docker tag evil:1.0 registry.test:5000/app:1.0" refused \
    docker run --network none registry.test:5000/app:1.0
{
    printf '{"Image": "evil:1.0", "Labels": {"padding": "'
    head -c 1048576 /dev/zero | tr '\0' x
    printf '"}}'
} > "$RIG/tmp/padded.json"
show "The request itself padded to 1 MiB, of which the engine shows plugins nothing, and acts on all." refused \
    curl -s --unix-socket /run/docker.sock -H 'Content-Type: application/json' --data-binary @"$RIG/tmp/padded.json" \
    http://engine/containers/create

printf '\n%sThat was a managed plugin on dockerd %s.%s\n' "$bold" "$(inside "$RIG" "$here/engine.sh" version)" "$plain"

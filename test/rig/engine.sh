#!/bin/bash
# The private Docker engine: dockerd, or the program RIG_PROGRAM. Runs inside the private machine.
#
#   engine.sh start [DOCKERD-FLAG...]    and wait until it answers. dockerd has GODEBUG=http2server=0, as `doctor` recommends it
#                                        for engines from 29.2 on; RIG_GODEBUG is what it has instead
#   engine.sh stop | restart
#   engine.sh gate PLUGIN|none           write daemon.json, send SIGHUP, wait until the new chain is in force
#   engine.sh version                    28.5.2
#   engine.sh versions                   what is tested, on a line: engine, store, API, containerd, runc, command line and its plugins
set -euo pipefail
: "${RIG:?the scratch folder of the rig}" "${RIG_DATA:?the data root}"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
service=$here/service.sh
log=$RIG/log/dockerd.log

# daemon.json, with this plugin or none
config() {
    local plugins='' containerd=false
    [[ $1 = none ]] || plugins="\"authorization-plugins\": [\"$1\"], "
    # From 29 on a new engine has containerd's store unless it is told otherwise.
    [[ ${RIG_STORE:-classic} = classic ]] || containerd=true
    printf '{%s"features": {"containerd-snapshotter": %s}}\n' "$plugins" $containerd > /etc/docker/daemon.json
}

start() {
    local root=()
    [[ -z ${RIG_TREE:-} ]] || root=("$here/tree.sh" run "$RIG_TREE")
    [[ -e /etc/docker/daemon.json ]] || config none
    GODEBUG=${RIG_GODEBUG-http2server=0} "$service" start dockerd "${root[@]}" "${RIG_PROGRAM:-dockerd}" --host unix:///run/docker.sock --pidfile /run/dockerd.pid \
        --data-root "$RIG_DATA" --exec-root "$RIG/exec" --cgroup-parent "/$(basename "$RIG")" \
        --bridge none --iptables=false --ip6tables=false "$@"
    # Without a question to the API: with a gate in the chain, each is one more call to it.
    if ! wait_for "the engine" 60 up_or_dead || ! "$service" running dockerd; then
        tail -n 20 "$log" >&2
        die "the engine did not start"
    fi
}

up_or_dead() {
    ! "$service" running dockerd || curl -sf --unix-socket /run/docker.sock http://engine/_ping
}

stop() { "$service" stop dockerd; }

gate() {
    local before
    config "$1"
    before=$(grep -c 'Reloaded configuration' "$log" || true)
    "$service" signal dockerd HUP
    wait_for "the engine's reload" 20 reloaded "$before"
    "$service" running dockerd
}

reloaded() { (($(grep -c 'Reloaded configuration' "$log" || true) > $1)); }

versions() {
    local engine store=classic
    engine=$(docker version -f 'dockerd {{.Server.Version}}, %s store, API {{.Server.MinAPIVersion}} to {{.Server.APIVersion}}{{range .Server.Components}}{{if
        ne .Name "Engine"}}, {{.Name}} {{.Version}}{{end}}{{end}}; CLI {{.Client.Version}}')
    [[ $(docker info -f '{{.DriverStatus}}') != *io.containerd.snapshotter* ]] || store=containerd
    printf "$engine, compose %s, buildx %s\n" "$store" "$(version_of docker compose || version_of docker-compose)" \
        "$(version_of docker buildx || echo none)"
}

# version_of COMMAND...: a number, whatever is said around it
version_of() {
    local said
    said=$("$@" version 2> /dev/null) && [[ $said =~ [0-9]+(\.[0-9]+)+[^[:space:],]* ]] && printf '%s\n' "${BASH_REMATCH[0]}"
}

verb=$1
shift
case $verb in
start | stop | gate | versions) "$verb" "$@" ;;
restart) stop; start "$@" ;;
version) docker version --format '{{.Server.Version}}' ;;
*) die "engine.sh: unknown verb $verb" ;;
esac

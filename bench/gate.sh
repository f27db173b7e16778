#!/bin/bash
# The gate against a real notary-server: verified pulls asked of a gate that runs, and what they cost.
# Everything is on loopback and under one scratch folder. The load generator and the server share the machine with the gate:
# CPU per decision is what other work moves least, wall times and rates belong beside the server's own share.
#
#   bench/gate.sh IMG-AUTHZ [SECONDS]      (a release build; default 5 seconds for each measurement)
#
# Needs notary, notary-server, notary-signer, openssl, curl, python3, rustc. Ports: BENCH_PORT (default 25443) and the next one.
set -euo pipefail
gate=$(realpath "${1:?the program}")
seconds=${2:-5}
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
# shellcheck source=../test/rig/notary.sh disable=SC2154
. test/rig/notary.sh
trap stop_all EXIT
rustc -O --edition 2024 -o "$dir/load" bench/load.rs
notary_up "${BENCH_PORT:-25443}"
registry=localhost:5000
hash=$(printf one | sha256sum | cut -d' ' -f1)

# publish NAME COUNT: a repository with so many tags. The client takes a list of changes at once; one by one takes an hour.
publish() {
    local gun=$registry/bench/$1 folder
    owner init "$gun" > "$dir/owner.log" 2>&1
    folder=$dir/owner/tuf/$gun/changelist
    mkdir -p "$folder"
    python3 - "$folder" "$2" "$hash" << 'PY'
import base64, json, sys
folder, count, digest = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
target = {"length": 3, "hashes": {"sha256": base64.b64encode(digest).decode()}}
for index in range(count):
    change = {"action": "create", "role": "targets", "type": "target", "path": f"t{index}",
              "data": base64.b64encode(json.dumps(target).encode()).decode()}
    json.dump(change, open(f"{folder}/{index:020d}_x.change", "w"))
PY
    owner publish "$gun" >> "$dir/owner.log" 2>&1
}

echo 'publishing 66 repositories' >&2
publish few 2
publish many 1000
for index in $(seq 64); do publish "one$index" 2; done

# serve NAME SETTING=VALUE...: sets gate_pid, socket
serve() {
    local name=$1
    shift
    socket=$dir/$name.sock
    env -i PATH="$PATH" REGISTRY=$registry NOTARY="$url" NOTARY_ROOT_CA="$(< "$dir/ca.crt")" STATE_DIR="$dir/$name" LOG=error \
        CONFIG_DIR="$dir/none" DOCKER_HOST=unix:///nowhere.sock ALLOWLIST=off "$@" \
        "$gate" serve --socket "$socket" > "$dir/$name.log" 2>&1 < /dev/null &
    gate_pid=$!
    pids+=("$gate_pid")
    until curl -sf --unix-socket "$socket" -X POST http://gate/Plugin.Activate > /dev/null; do sleep 0.1; done
}

serve online FRESHNESS=0
online=$gate_pid
serve window FRESHNESS=3600
python3 bench/gate.py "$dir" "$seconds" "$server_pid" "$online" "$gate_pid" "$registry" "$gate" "$url"

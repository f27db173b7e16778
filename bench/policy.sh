#!/bin/bash
# What a large policy costs: how long 10,000 scopes take to be read, a decision over 1,000 scopes and 10,000 digests beside one over 1 and 1,
# and a decision with rules in Rego beside one without, for a call that passed before and for one that is asked about anew. No server is
# asked: images are vouched for by an allowlist, pulled by digest.
#
#   bench/policy.sh IMG-AUTHZ [SECONDS]      (a release build; default 2 seconds for each round)
#
# Needs python3, curl, rustc. Small and large take turns, so that what else the machine does meets both alike.
set -euo pipefail
gate=$(realpath "${1:?the program}")
seconds=${2:-2}
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
pids=()
stop_all() {
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2> /dev/null || true
    wait
    rm -rf "$dir"
}
trap stop_all EXIT
rustc -O --edition 2024 -o "$dir/load" bench/load.rs
python3 bench/policy.py write "$dir"

# serve NAME: a gate with the policy in the folder of this name; sets served to NAME=PID...
served=()
serve() {
    env -i PATH="$PATH" POLICY="$dir/$1/policy.toml" CONFIG_DIR="$dir/$1" STATE_DIR="$dir/$1/state" LOG=error \
        DOCKER_HOST=unix:///nowhere.sock "$gate" serve --socket "$dir/$1.sock" > "$dir/$1.log" 2>&1 < /dev/null &
    pids+=($!)
    served+=("$1=$!")
    until curl -sf --unix-socket "$dir/$1.sock" -X POST http://gate/Plugin.Activate > /dev/null; do sleep 0.1; done
}

for name in small large ruled anew; do serve $name; done
python3 bench/policy.py measure "$dir" "$seconds" "$gate" "${served[@]}"

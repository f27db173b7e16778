#!/bin/bash
# The verifier against the real notary-server, fed by the real `notary` client: after each thing an owner does, the client and
# `img-authz trust verify` must agree. Then a gate that runs: what is revoked or rotated counts within its freshness window. Then
# the same server with token auth. Loopback only; everything under one scratch folder; stops what it started.
#
#   test/trust-interop.sh [IMG-AUTHZ]      (default: target/debug/img-authz, built if it is not there)
#
# Needs notary, notary-server, notary-signer, docker (its command line), openssl, curl and python3; installs those that are missing
# (Debian, as root). Ports: INTEROP_PORT (default 24443) and the six behind it.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=test/rig/lib.sh
. test/rig/lib.sh
packages notary:notary notary-server:notary notary-signer:notary openssl:openssl curl:curl python3:python3 docker:docker.io
gate=${1:-target/debug/img-authz}
if [[ ! -x $gate ]]; then
    find_cargo
    cargo build --locked
fi
gate=$(realpath "$gate")
port=${INTEROP_PORT:-24443}
gun=localhost:5000/interop/app
dir=$(mktemp -d)
checks=0
# shellcheck source=test/rig/notary.sh
. test/rig/notary.sh
trap stop_all EXIT

die() {
    echo "trust-interop: $*" >&2
    tail -n 5 "$dir"/*.log >&2 || true
    exit 1
}

notary_up "$port"
key_and_certificate alice alice extendedKeyUsage=codeSigning
export DOCKER_CONFIG=$dir/docker
notary() { command notary -c "$dir/client.json" "$@" > "$dir/client.log" 2>&1 || die "notary $* failed"; }
hash_of() { printf '%s' "$1" | sha256sum | cut -d' ' -f1; }

verify() { "$gate" trust verify "$gun:$1" --server "$url" --root-ca "$dir/ca.crt" --state "$dir/${2:-state}" --json 2>>"$dir/gate.log"; }

# yes WHAT TAG CONTENT [ROLE]: the gate says yes to this content, the Go client too, with old state and with none.
yes() {
    local answer state
    for state in state new; do
        rm -rf "$dir/new"
        answer=$(verify "$2" "$state") || die "$1: $answer"
        [[ $answer == *"$(hash_of "$3")"* ]] || die "$1: another digest: $answer"
        [[ -z ${4:-} || $answer == *"\"role\":\"$4\""* ]] || die "$1: another role: $answer"
    done
    rm -rf "$dir/reader"
    command notary -c "$dir/client.json" -d "$dir/reader" lookup "$gun" "$2" >"$dir/client.log" 2>&1 || die "$1: the notary client says no"
    grep -q "$(hash_of "$3")" "$dir/client.log" || die "$1: the notary client has another digest"
    checks=$((checks + 1))
}

# no WHAT TAG CODE: the gate says no with this code.
no() {
    local answer status=0
    answer=$(verify "$2") || status=$?
    [[ $status = 2 && $answer == *"\"code\":\"$3\""* ]] || die "$1: exit $status, $answer"
    checks=$((checks + 1))
}

no 'before anything is signed' 1.0 no-trust-data
notary init -p "$gun"
no 'an empty repository' 1.0 not-signed
notary addhash -p "$gun" 1.0 3 --sha256 "$(hash_of one)"
yes 'the first tag' 1.0 one targets
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of two)"
yes 'a second tag' 2.0 two targets
cp -r "$dir/state" "$dir/before-rotation"
notary remove -p "$gun" 1.0
no 'a tag taken back' 1.0 not-signed
for role in timestamp snapshot; do
    notary key rotate "$gun" "$role" -r
    yes "the $role key rotated" 2.0 two
done
notary key rotate "$gun" targets
yes 'the targets key rotated' 2.0 two
for turn in first second third; do
    printf 'yes\n' | command notary -c "$dir/client.json" key rotate "$gun" root >"$dir/client.log" 2>&1 || die "root rotation failed"
    yes "the root key rotated, $turn time" 2.0 two
done
answer=$(verify 2.0 before-rotation) || die "several root rotations at once: $answer"
notary delegation add -p "$gun" targets/releases "$dir/alice.crt" --all-paths
yes 'a delegation without content' 2.0 two targets
notary key import "$dir/alice.key" --role targets/releases
notary addhash -p "$gun" 3.0 5 --sha256 "$(hash_of three)" --roles targets/releases
yes 'a tag in targets/releases' 3.0 three targets/releases
yes 'the older tag in targets' 2.0 two targets
notary addhash -p "$gun" 3.0 4 --sha256 "$(hash_of four)" --roles targets/releases
yes 'the tag moved' 3.0 four targets/releases
# The ids that `trust inspect` gives as docker's are those that the client gives its keys.
command notary -c "$dir/client.json" key list > "$dir/keys" 2>&1
"$gate" trust inspect "$gun" --server "$url" --root-ca "$dir/ca.crt" --state "$dir/state" --json > "$dir/inspect"
for role in root targets targets/releases; do
    id=$(python3 -c 'import json, sys
print(*next(role["docker_keys"] for role in json.load(open(sys.argv[1]))["roles"] if role["name"] == sys.argv[2]))' "$dir/inspect" "$role")
    grep -q "${id:?}" "$dir/keys" || die "trust inspect: the client has no key $id of $role"
done
checks=$((checks + 1))
notary delegation remove -p "$gun" targets/releases --yes
no 'the delegation removed' 3.0 not-signed
yes 'the older tag in targets, after it' 2.0 two targets
cp -r "$dir/state" "$dir/rolled"
notary delete --remote "$gun"
no 'the repository deleted' 2.0 trust-withdrawn
notary init -p "$gun"
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of two)"
no 'another root under the same name' 2.0 trust-rolled-back

# A gate that runs, asked as dockerd asks it.
window=3
gun=localhost:5000/interop/live
socket=$dir/gate.sock

serve() { # SETTING=VALUE...
    env -i PATH="$PATH" REGISTRY=localhost:5000 NOTARY="$url" NOTARY_ROOT_CA="$(< "$dir/ca.crt")" STATE_DIR="$dir/gate" \
        CONFIG_DIR="$dir/config" DOCKER_HOST=unix:///nowhere.sock ALLOWLIST=off "$@" \
        "$gate" serve --socket "$socket" > "$dir/serving.log" 2>&1 < /dev/null &
    gate_pid=$!
    pids+=("$gate_pid")
    wait_for 'the gate' 30 curl -sf --unix-socket "$socket" -X POST http://gate/Plugin.Activate
}

# gone: the gate that runs ends
gone() {
    kill "$gate_pid"
    wait "$gate_pid" 2> /dev/null || true
}

# asked TAG: the gate's answer to the pull
asked() {
    local call='{"RequestMethod": "POST", "RequestUri": "/v1.43/images/create?fromImage='$gun'&tag='$1'",
        "RequestHeaders": {"Content-Length": "0"}}'
    curl -s --max-time 20 --unix-socket "$socket" -X POST --data "$call" http://gate/AuthZPlugin.AuthZReq
}

# within_window WHAT TAG ANSWER: the gate gives this answer (`"Allow":true`, or a code) by the end of its window
within_window() {
    local answer deadline=$((SECONDS + window + 2))
    until answer=$(asked "$2") && [[ $answer == *"$3"* ]]; do
        ((SECONDS < deadline)) || die "$1: not within $window s: $answer"
        sleep 0.2
    done
    checks=$((checks + 1))
}

notary init -p "$gun"
notary addhash -p "$gun" 1.0 3 --sha256 "$(hash_of one)"
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of two)"
serve FRESHNESS=$window
within_window 'a signed tag' 1.0 '"Allow":true'
notary remove -p "$gun" 1.0
within_window 'a tag revoked' 1.0 not-signed
within_window 'the other tag' 2.0 '"Allow":true'
notary addhash -p "$gun" 3.0 3 --sha256 "$(hash_of three)"
within_window 'a tag added' 3.0 '"Allow":true'
for role in timestamp snapshot; do
    notary key rotate "$gun" "$role" -r
    notary addhash -p "$gun" "after-$role" 3 --sha256 "$(hash_of four)"
    within_window "the $role key rotated" "after-$role" '"Allow":true'
done
notary key rotate "$gun" targets
notary addhash -p "$gun" after-targets 3 --sha256 "$(hash_of four)"
within_window 'the targets key rotated' after-targets '"Allow":true'
printf 'yes\n' | command notary -c "$dir/client.json" key rotate "$gun" root > "$dir/client.log" 2>&1 || die 'root rotation failed'
notary addhash -p "$gun" after-root 3 --sha256 "$(hash_of four)"
within_window 'the root key rotated' after-root '"Allow":true'
notary delegation add -p "$gun" targets/releases "$dir/alice.crt" --all-paths
notary addhash -p "$gun" 4.0 5 --sha256 "$(hash_of five)" --roles targets/releases
within_window 'a tag in a delegation' 4.0 '"Allow":true'
notary delegation remove -p "$gun" targets/releases --yes
within_window 'the delegation removed' 4.0 not-signed
notary delete --remote "$gun"
within_window 'the repository deleted' 2.0 trust-withdrawn
# What the gate tells of it, every 15 seconds.
wait_for 'the metrics' 20 grep -q '^img_authz_trust_checks_total{outcome="trust-withdrawn"}' "$dir/gate/metrics.prom" ||
    die 'the metrics do not tell of the withdrawal'
for line in 'trust_checks_total{outcome="good"} [1-9]' 'trust_server_reachable 1' 'trust_repositories{state="refused"} 1' \
    'trust_expiry_timestamp_seconds{role="root"} [1-9]' 'trust_last_check_timestamp_seconds [1-9]'; do
    grep -q "^img_authz_$line" "$dir/gate/metrics.prom" || die "the metrics do not tell $line"
done
checks=$((checks + 1))
# A restart while the server is gone: what was withdrawn stays withdrawn.
gone
answer=$("$gate" trust inspect "$gun" --offline --server "$url" --root-ca "$dir/ca.crt" --state "$dir/gate/trust" --json)
[[ $answer == *'"refused":'* ]] || die "the withdrawal is not kept: $answer"
checks=$((checks + 1))

# A state folder without room: decisions go on, and the log says what that costs.
gun=localhost:5000/interop/full
notary init -p "$gun"
notary addhash -p "$gun" 1.0 3 --sha256 "$(hash_of one)"
mkdir "$dir/small"
# shellcheck disable=SC2016  # expanded in the other shell
unshare --mount --map-root-user bash -euc '
    mount -t tmpfs -o size=64k none "$1"
    dd if=/dev/zero of="$1/filler" bs=1k 2> /dev/null || true
    exec "${@:2}"' - "$dir/small" "$gate" trust verify "$gun:1.0" --server "$url" --root-ca "$dir/ca.crt" \
    --state "$dir/small/state" --json > "$dir/answer" 2> "$dir/full.log" || die 'a full disk stops verifications'
grep -q "$(hash_of one)" "$dir/answer" || die 'a full disk: another answer'
grep -q 'cannot be kept; protection against rollback ends with this process' "$dir/full.log" || die 'a full disk is not told'
checks=$((checks + 1))

# Old TLS, and keys that are too weak, on a server that would like them.
tls_server() { # FLAG...: openssl's, on the port behind all others
    openssl s_server -accept $((port + 6)) -quiet -www -cipher 'ALL:@SECLEVEL=0' "$@" > "$dir/s_server.log" 2>&1 < /dev/null &
    tls_pid=$!
    pids+=("$tls_pid")
    wait_for_port $((port + 6))
}
tls_no() { # WHAT CODE WORDS FLAG...
    local answer status=0 what=$1 code=$2 words=$3
    shift 3
    tls_server "$@"
    answer=$("$gate" trust verify "$gun:1.0" --server "https://localhost:$((port + 6))" --root-ca "$dir/ca.crt" \
        --state "$dir/tls-state" --json 2>> "$dir/gate.log") || status=$?
    [[ $status = 2 && $answer == *"\"code\":\"$code\""* && $answer == *"$words"* ]] || die "$what: exit $status, $answer"
    kill "$tls_pid"
    wait "$tls_pid" 2> /dev/null || true
    checks=$((checks + 1))
}
openssl req -newkey rsa:1024 -nodes -keyout "$dir/weak.key" -out "$dir/weak.csr" -subj /CN=localhost 2> /dev/null
openssl x509 -req -in "$dir/weak.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 -out "$dir/weak.crt" \
    -extfile <(echo subjectAltName=DNS:localhost) 2> /dev/null
tls_no 'TLS 1.0' trust-unreachable 'TLS with' -cert "$dir/tls.crt" -key "$dir/tls.key" -tls1
tls_no 'TLS 1.1' trust-unreachable 'TLS with' -cert "$dir/tls.crt" -key "$dir/tls.key" -tls1_1
# The twin: TLS is good, its page is no trust data.
tls_no 'TLS 1.2' trust-invalid 'no JSON' -cert "$dir/tls.crt" -key "$dir/tls.key" -tls1_2
tls_no 'a key of 1024 bits' trust-ca-refused 'weak key' -cert "$dir/weak.crt" -key "$dir/weak.key"
# shellcheck source=test/suite/trust-owners.sh
. test/suite/trust-owners.sh

# Token auth. The credentials are those of the registry; `reader` may pull and nothing else.
for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
wait 2> /dev/null || true
pids=()
rm -rf "$dir/owner" "$dir/state"
port=$((port + 3)) gun=localhost:5000/interop/token
notary_up "$port" token
export NOTARY_AUTH
NOTARY_AUTH=$(printf 'owner:secret' | base64)
notary init -p "$gun"
notary addhash -p "$gun" 1.0 3 --sha256 "$(hash_of one)"
login() { # HOST USER PASSWORD
    mkdir -p "$dir/docker"
    printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$1" "$(printf '%s:%s' "$2" "$3" | base64)" > "$dir/docker/config.json"
}
no 'without credentials' 1.0 trust-unauthorized
login localhost:5000 reader wrong
no 'with a wrong password' 1.0 trust-unauthorized
login other.example reader readerpass
no 'with credentials of another registry' 1.0 trust-unauthorized
login localhost:5000 reader readerpass
answer=$(verify 1.0) || die "with a token: $answer"
[[ $answer == *"$(hash_of one)"* ]] || die "with a token: another digest: $answer"
no 'a tag that is not signed, with a token' 2.0 not-signed
gun=localhost:5000/interop/none
no 'a repository that is not there, with a token' 1.0 no-trust-data
gun=localhost:5000/interop/token
grep -q "^reader repository:$gun:pull reader$" "$dir/tokens.log" || die 'the token service was asked for something else'
! grep -q '^reader .*push' "$dir/tokens.log" || die 'the gate asked for more than it needs'
rm -rf "$dir/config" "$dir/gate"
mkdir -p "$dir/config"
cp "$dir/docker/config.json" "$dir/config/config.json"
serve FRESHNESS=0
within_window 'a gate with a token' 1.0 '"Allow":true'
within_window 'a gate with a token, again' 1.0 '"Allow":true'
gone
signers_with_tokens
echo "trust-interop: $((checks + 1)) checks, all as expected"

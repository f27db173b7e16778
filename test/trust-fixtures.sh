#!/bin/bash
# The `notary` client (Go) on the folders `valid-*` of test/fixtures/tuf: what is called valid there is, by the client whose
# format it is. Each folder is served over TLS on loopback; where it has an earlier publication, the client has seen that.
#
#   test/trust-fixtures.sh [FOLDER...]      (default: all that are called valid)
#
# Needs notary, openssl and python3; installs those that are missing (Debian, as root). Port: FIXTURES_PORT (default 24453).
# The client goes by the real clock: until 2031, when the folders expire (`LATER` in test/it/support/trust_repo.rs).
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=test/rig/lib.sh
. test/rig/lib.sh
packages notary:notary openssl:openssl python3:python3
port=${FIXTURES_PORT:-24453}
dir=$(mktemp -d)
# shellcheck source=test/rig/notary.sh
. test/rig/notary.sh
trap stop_all EXIT

# What the Go client refuses, and why it is valid all the same: FOLDER REASON
exceptions() {
    cat << 'END'
valid-under-pinned-ca the certificate is for signing code alone, as notary itself makes them; Go wants one for servers
valid-under-intermediate the same
END
}

member() { python3 -c 'import json, sys; value = json.load(open(sys.argv[1]))
for name in sys.argv[2].split("."): value = value[name]
print(value)' "$@"; }

# configure CASE URL: the client's configuration, with the case's pins; bundles lie in its folder
configure() {
    python3 - "$@" "$dir" << 'END'
import json, pathlib, sys
case, url, folder = sys.argv[1:]
pins = json.load(open(case + "/case.json")).get("pins", {})
pins["ca"] = {prefix: str(pathlib.Path(case, name).resolve()) for prefix, name in pins.get("ca", {}).items()}
config = {"trust_dir": folder + "/reader", "trust_pinning": pins, "remote_server": {"url": url, "root_ca": folder + "/ca.crt"}}
json.dump(config, open(folder + "/client.json", "w"))
END
}

# lookup CASE PHASE: what the client says about the case's tag
lookup() {
    configure "$1" "https://localhost:$port/${1##*/}/$2"
    notary -c "$dir/client.json" lookup "$(member "$1/case.json" repository)" "$(member "$1/case.json" tag)" 2>&1
}

authority
key_and_certificate tls localhost subjectAltName=DNS:localhost basicConstraints=critical,CA:FALSE
start fixtures python3 test/rig/fixtures.py "$port" test/fixtures/tuf "$dir/tls.crt" "$dir/tls.key"
wait_for_port "$port"
(($#)) || set -- test/fixtures/tuf/valid-*
wrong=0 passed=0 excepted=0
for case; do
    rm -rf "$dir/reader"
    if [[ -d $case/earlier ]] && ! answer=$(lookup "$case" earlier); then
        echo "${case##*/}: the earlier publication: $answer" >&2
        wrong=$((wrong + 1))
        continue
    fi
    digest=$(member "$case/case.json" expect.digest)
    answer=$(lookup "$case" served) || true
    reason=$(exceptions | sed -n "s/^${case##*/} //p")
    if [[ $answer == *"${digest#sha256:}"* && -z $reason ]]; then
        passed=$((passed + 1))
    elif [[ $answer != *"${digest#sha256:}"* && -n $reason ]]; then
        echo "${case##*/}: not for the Go client: $reason"
        excepted=$((excepted + 1))
    else
        echo "${case##*/}: ${reason:+no exception any more: }$answer" >&2
        wrong=$((wrong + 1))
    fi
done
echo "trust-fixtures: $passed folders pass the notary client, $excepted are exceptions, $wrong are wrong"
((wrong == 0 && passed > 0))

#!/bin/bash
# The verifier against the real notary-server, fed by the real `notary` client: after each thing an owner does, the client and
# `img-authz trust verify` must agree. Loopback only; everything under one scratch folder; stops what it started.
#
#   test/trust-interop.sh [IMG-AUTHZ]      (default: target/debug/img-authz)
#
# Needs: notary, notary-server, notary-signer, openssl. Ports: INTEROP_PORT (default 24443) and the next one.
set -euo pipefail

cd "$(dirname "$0")/.."
gate=$(realpath "${1:-target/debug/img-authz}")
port=${INTEROP_PORT:-24443}
signer=$((port + 1))
url=https://localhost:$port
gun=localhost:5000/interop/app
dir=$(mktemp -d)
pids=()
checks=0

finish() {
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT

die() {
	echo "trust-interop: $*" >&2
	tail -n 5 "$dir"/*.log >&2 || true
	exit 1
}

key_and_certificate() { # NAME SUBJECT EXTENSIONS...
	local name=$1 subject=$2
	shift 2
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/$name.key" -out "$dir/$name.csr" \
		-subj "/CN=$subject" 2>/dev/null
	openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
		-out "$dir/$name.crt" -extfile <(printf '%s\n' "$@") 2>/dev/null
}

start() { # LOG COMMAND...
	local log=$1
	shift
	"$@" >"$dir/$log.log" 2>&1 </dev/null &
	pids+=($!)
}

wait_for_port() {
	for _ in $(seq 100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.1
	done
	die "nothing listens on port $1"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/ca.key" -out "$dir/ca.crt" -days 30 \
	-subj "/CN=interop CA" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
tls=("subjectAltName=DNS:localhost,IP:127.0.0.1" "basicConstraints=critical,CA:FALSE" "extendedKeyUsage=serverAuth,clientAuth")
key_and_certificate tls localhost "${tls[@]}"
key_and_certificate alice alice extendedKeyUsage=codeSigning
cat >"$dir/signer.json" <<-END
	{"server": {"grpc_addr": "127.0.0.1:$signer", "tls_cert_file": "$dir/tls.crt", "tls_key_file": "$dir/tls.key",
	  "client_ca_file": "$dir/ca.crt"}, "logging": {"level": "error"}, "storage": {"backend": "memory"}}
END
cat >"$dir/server.json" <<-END
	{"server": {"http_addr": "127.0.0.1:$port", "tls_cert_file": "$dir/tls.crt", "tls_key_file": "$dir/tls.key"},
	 "trust_service": {"type": "remote", "hostname": "localhost", "port": "$signer", "tls_ca_file": "$dir/ca.crt",
	  "key_algorithm": "ecdsa", "tls_client_cert": "$dir/tls.crt", "tls_client_key": "$dir/tls.key"},
	 "logging": {"level": "error"}, "storage": {"backend": "memory"}}
END
cat >"$dir/client.json" <<-END
	{"trust_dir": "$dir/owner", "remote_server": {"url": "$url", "root_ca": "$dir/ca.crt"}}
END
start signer notary-signer -config "$dir/signer.json" -logf logfmt
wait_for_port "$signer"
start server notary-server -config "$dir/server.json" -logf logfmt
wait_for_port "$port"

export NOTARY_ROOT_PASSPHRASE=rootpass1 NOTARY_TARGETS_PASSPHRASE=repopass1 NOTARY_SNAPSHOT_PASSPHRASE=repopass1
export NOTARY_DELEGATION_PASSPHRASE=repopass1 DOCKER_CONFIG=$dir/docker
notary() { command notary -c "$dir/client.json" "$@" >"$dir/client.log" 2>&1 || die "notary $* failed"; }
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
notary delegation remove -p "$gun" targets/releases --yes
no 'the delegation removed' 3.0 not-signed
yes 'the older tag in targets, after it' 2.0 two targets
cp -r "$dir/state" "$dir/rolled"
notary delete --remote "$gun"
no 'the repository deleted' 2.0 trust-withdrawn
notary init -p "$gun"
notary addhash -p "$gun" 2.0 3 --sha256 "$(hash_of two)"
no 'another root under the same name' 2.0 trust-rolled-back
echo "trust-interop: $checks checks, all as expected"

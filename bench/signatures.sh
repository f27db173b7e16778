#!/bin/bash
# `img-authz trust verify` beside the real `cosign verify` and `notation verify`, cold, on one registry: wall and CPU time, requests. Then a
# gate that runs: first pulls of signed images, 64 at once and each alone, and creates of what was verified before. Compare the ratios,
# never the absolute times.
#
#   bench/signatures.sh IMG-AUTHZ COSIGN NOTATION [RUNS] [REGISTRY]
#
# A release build; the tools: `test/rig/tree.sh signer cosign forky`; 10 runs. The registry is Debian's docker-registry, which keeps no list of what
# points at an image, or the program that `test/rig/tree.sh registry forky` prints, which does (OCI 1.1) and holds all in memory.
# On a machine that has other work BENCH_FIRST=1 puts what is measured before all of it (chrt, which needs root).
# Needs docker-registry, openssl, curl, python3, rustc. Port: BENCH_PORT (default 25543). BENCH_IMAGES: of each kind, 64 unless given.
set -euo pipefail
gate=$(realpath "${1:?the program}") cosign=$(realpath "${2:?cosign}") notation=$(realpath "${3:?notation}")
runs=${4:-10} registry=${5:-docker-registry}
[[ $registry = docker-registry ]] || registry=$(realpath "$registry")
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
# shellcheck source=../test/rig/notary.sh disable=SC2154
. test/rig/notary.sh
trap 'status=$?; ((status == 0)) || tail -n 3 "$dir"/*.log >&2; stop_all' EXIT
rustc -O --edition 2024 -o "$dir/load" bench/load.rs
first=()
[[ -z ${BENCH_FIRST:-} ]] || first=(chrt --rr 5)
# Of `localhost` notation believes that it speaks cleartext.
port=${BENCH_PORT:-25543} host=127.0.0.1:${BENCH_PORT:-25543}
authority
key_and_certificate tls localhost subjectAltName=DNS:localhost,IP:127.0.0.1 basicConstraints=critical,CA:FALSE extendedKeyUsage=serverAuth
if [[ $registry = docker-registry ]]; then
    cat > "$dir/registry.yml" << END
version: 0.1
storage: {filesystem: {rootdirectory: $dir/registry}}
http: {addr: "$host", tls: {certificate: $dir/tls.crt, key: $dir/tls.key}}
END
    start registry "${first[@]}" docker-registry serve "$dir/registry.yml"
else
    start registry "${first[@]}" "$registry" -address "$host" -certificate "$dir/tls.crt" -key "$dir/tls.key"
fi
registry_pid=$started
wait_for_port "$port"

# Each image is another one, in a repository of its own, with the tag `latest`.
echo 'publishing and signing images' >&2
export HOME=$dir XDG_CONFIG_HOME=$dir SSL_CERT_FILE=$dir/ca.crt COSIGN_PASSWORD=''
python3 bench/signatures.py publish "$dir" "$host"
(cd "$dir" && "$cosign" generate-key-pair > /dev/null 2>&1)
cosign_signs() { xargs "$cosign" sign --key "$dir/cosign.key" --tlog-upload=false --use-signing-config=false --yes "$@" > "$dir/cosign.log" 2>&1; }
cosign_signs --new-bundle-format=false < "$dir/legacy.list"
cosign_signs --new-bundle-format < "$dir/bundle.list"
# notation wants more of a name than the authority of TLS has.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$dir/n-ca.key" -out "$dir/n-ca.crt" \
    -subj /C=US/ST=WA/O=acme/CN=ca -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/n.key" -out "$dir/n.csr" -subj /C=US/ST=WA/O=acme/CN=signer 2> /dev/null
openssl x509 -req -in "$dir/n.csr" -CA "$dir/n-ca.crt" -CAkey "$dir/n-ca.key" -CAcreateserial -days 30 -out "$dir/n.crt" \
    -extfile <(printf '%s\n' keyUsage=critical,digitalSignature basicConstraints=critical,CA:FALSE) 2> /dev/null
cat "$dir/n-ca.crt" >> "$dir/n.crt"
store=$dir/notation/truststore/x509/ca/acme
mkdir -p "$store"
cp "$dir/n-ca.crt" "$store/"
cat > "$dir/notation/signingkeys.json" << END
{"default": "n", "keys": [{"name": "n", "keyPath": "$dir/n.key", "certPath": "$dir/n.crt"}]}
END
cat > "$dir/notation/trustpolicy.json" << END
{"version": "1.0", "trustPolicies": [{"name": "acme", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
  "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"]}]}
END
while read -r image; do "$notation" sign "$image" >> "$dir/notation.log" 2>&1; done < "$dir/notation.list"

# A policy each, that their files lie beside.
for kind in legacy bundle notation listed; do
    mkdir -p "$dir/$kind/certs.d/$host"
    cp "$dir/ca.crt" "$dir/$kind/certs.d/$host/"
    case $kind in
    notation)
        cp -r "$dir/notation/truststore" "$dir/notation/trustpolicy.json" "$dir/$kind/" 2> /dev/null || true
        verifier='type = "notation"
trust_policy = "trustpolicy.json"
trust_store = "truststore"'
        ;;
    listed)
        verifier='type = "allowlist"
file = "list.json"'
        python3 bench/signatures.py list "$dir"
        ;;
    *)
        cp "$dir/cosign.pub" "$dir/$kind/"
        verifier='type = "cosign"
keys = ["cosign.pub"]'
        ;;
    esac
    cat > "$dir/$kind/policy.toml" << END
version = 1

[verifiers.release]
$verifier

[[scope]]
match = "$host/bench/**"
require = "release"
END
done
"${first[@]}" python3 bench/signatures.py measure "$dir" "$host" "$runs" "$registry_pid" "$gate" "$cosign" "$notation"

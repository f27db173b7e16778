#!/bin/bash
# Two TLS registries, a Notary signer and a Notary server, with a certificate authority of their own. Runs inside a sealed
# machine, whose /etc/hosts names them.
#
#   services.sh start
#   services.sh registry NAME HOST PORT [PROGRAM]    one more registry: docker-registry, whose data is in $RIG/NAME, or test/registry as built
#
#   registry.test:5000   the registry that the gate allows        notary.test:4443   the Notary server
#   foreign.test:5001    another one, as good, but not allowed    notary.test:7899   its signer
set -euo pipefail
: "${RIG:?the scratch folder of the rig}"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
service=$here/service.sh
pki=$RIG/pki

# authority FILE NAME: a certificate authority
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$2" \
        -keyout "$pki/$1.key" -out "$pki/$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
}

# leaf NAME HOST USES: a key and a certificate of our authority
leaf() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
        -keyout "$pki/$1.key" -out "$pki/$1.csr" 2> /dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -out "$pki/$1.crt" \
        -extfile <(printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=%s\n' "$2" "$3") \
        2> /dev/null
}

# registry NAME HOST PORT [PROGRAM]
registry() {
    local serve=("${4:-docker-registry}")
    leaf "$1" "$2" serverAuth
    if [[ -n ${4:-} ]]; then serve+=(-address "$2:$3" -certificate "$pki/$1.crt" -key "$pki/$1.key"); else serve+=(serve "$RIG/$1.yml"); fi
    cat > "$RIG/$1.yml" << END
version: 0.1
storage: {filesystem: {rootdirectory: $RIG/$1}, delete: {enabled: true}}
http: {addr: "$2:$3", tls: {certificate: $pki/$1.crt, key: $pki/$1.key}}
END
    mkdir -p "/etc/docker/certs.d/$2:$3"
    cp "$pki/ca.crt" "/etc/docker/certs.d/$2:$3/ca.crt"
    "$service" start "$1" "${serve[@]}"
    wait_for "$1" 20 curl -sf --cacert "$pki/ca.crt" "https://$2:$3/v2/"
}

notary() {
    leaf signer notary.test serverAuth
    # The server shows the same certificate to its clients and, as a client, to the signer.
    leaf notary notary.test serverAuth,clientAuth
    cat > "$RIG/notary-signer.json" << END
{"server": {"grpc_addr": "notary.test:7899", "tls_cert_file": "$pki/signer.crt", "tls_key_file": "$pki/signer.key",
            "client_ca_file": "$pki/ca.crt"},
 "logging": {"level": "info"}, "storage": {"backend": "memory"}}
END
    cat > "$RIG/notary-server.json" << END
{"server": {"http_addr": "notary.test:4443", "tls_cert_file": "$pki/notary.crt", "tls_key_file": "$pki/notary.key"},
 "trust_service": {"type": "remote", "hostname": "notary.test", "port": "7899", "key_algorithm": "ecdsa",
                   "tls_ca_file": "$pki/ca.crt", "tls_client_cert": "$pki/notary.crt", "tls_client_key": "$pki/notary.key"},
 "logging": {"level": "info"}, "storage": {"backend": "memory"}}
END
    "$service" start notary-signer notary-signer -config "$RIG/notary-signer.json" -logf logfmt
    wait_for notary-signer 20 bash -c 'exec 3<> /dev/tcp/notary.test/7899'
    "$service" start notary-server notary-server -config "$RIG/notary-server.json" -logf logfmt
    wait_for notary-server 20 curl -sf --cacert "$pki/ca.crt" https://notary.test:4443/_notary_server/health
}

# The signers' side: `docker trust` and `notary` are pointed at the server and told the pass phrases of throw-away keys.
signers() {
    local tls=$RIG/home/.docker/tls/notary.test:4443
    mkdir -p "$tls"
    cp "$pki/ca.crt" "$tls/ca.crt"
    # The login name becomes the name of docker trust's delegation, targets/maker.
    printf '{"auths": {"registry.test:5000": {"auth": "%s"}}}\n' "$(printf 'maker:-' | base64)" \
        > "$RIG/home/.docker/config.json"
    cat > "$RIG/notary.json" << END
{"trust_dir": "$RIG/home/notary", "remote_server": {"url": "https://notary.test:4443", "root_ca": "$pki/ca.crt"}}
END
    cat >> "$RIG/env" << END
DOCKER_CONTENT_TRUST_SERVER=https://notary.test:4443
DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=throw-away
DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=throw-away
NOTARY_ROOT_PASSPHRASE=throw-away
NOTARY_TARGETS_PASSPHRASE=throw-away
NOTARY_SNAPSHOT_PASSPHRASE=throw-away
NOTARY_DELEGATION_PASSPHRASE=throw-away
END
}

start() {
    mkdir -p "$pki"
    authority ca "rig authority"
    authority stranger "somebody else's authority"
    registry registry registry.test 5000
    registry foreign foreign.test 5001
    notary
    signers
}

case ${1:-} in
start) start ;;
registry) "$@" ;;
*) die "services.sh: start | registry NAME HOST PORT [PROGRAM]" ;;
esac

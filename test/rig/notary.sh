# shellcheck shell=bash
# A Notary signer and a Notary server on loopback, with a certificate authority of their own, and the `notary` client beside
# them. For scripts that need trust data and no engine. Sourced; everything lies under `$dir`, which the script makes; what is
# started is in `pids`, for the script to end.
#
#   notary_up PORT [token]    server on PORT, signer on the next one, with `token` a token service on the one after that
#   owner COMMAND...          the `notary` client of the repositories' owner

: "${dir:?the scratch folder}"
pids=()

# stop_all: for the script's exit
stop_all() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    wait 2> /dev/null || true
    rm -rf "$dir"
}

# authority: a certificate authority
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/ca.key" -out "$dir/ca.crt" \
        -days 30 -subj "/CN=loopback CA" -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign 2> /dev/null
}

# key_and_certificate NAME SUBJECT EXTENSIONS...: issued by the authority
key_and_certificate() {
    local name=$1 subject=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/$name.key" -out "$dir/$name.csr" \
        -subj "/CN=$subject" 2> /dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
        -out "$dir/$name.crt" -extfile <(printf '%s\n' "$@") 2> /dev/null
}

# start LOG COMMAND...: in the background; its process id is in `pids` and in `started`
start() {
    local log=$1
    shift
    "$@" > "$dir/$log.log" 2>&1 < /dev/null &
    started=$!
    pids+=("$started")
}

wait_for_port() {
    local try
    for try in $(seq 300); do
        (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return
        sleep 0.1
    done
    echo "nothing listens on port $1 after $try tries" >&2
    return 1
}

notary_up() {
    local port=$1 auth=''
    url=https://localhost:$port
    authority
    key_and_certificate tls localhost subjectAltName=DNS:localhost,IP:127.0.0.1 basicConstraints=critical,CA:FALSE \
        extendedKeyUsage=serverAuth,clientAuth
    if [[ ${2:-} = token ]]; then
        # Tokens are signed with RSA, whose signatures openssl writes as tokens have them.
        openssl req -newkey rsa:2048 -nodes -keyout "$dir/token.key" -out "$dir/token.csr" -subj /CN=tokens 2> /dev/null
        openssl x509 -req -in "$dir/token.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
            -out "$dir/token.crt" 2> /dev/null
        start tokens python3 "${BASH_SOURCE[0]%/*}/tokens.py" $((port + 2)) "$dir"
        wait_for_port $((port + 2))
        auth=', "auth": {"type": "token", "options": {"realm": "https://localhost:'$((port + 2))'/token", "service": "notary",
            "issuer": "loopback", "rootcertbundle": "'$dir/ca.crt'"}}'
    fi
    cat > "$dir/signer.json" << END
{"server": {"grpc_addr": "127.0.0.1:$((port + 1))", "tls_cert_file": "$dir/tls.crt", "tls_key_file": "$dir/tls.key",
  "client_ca_file": "$dir/ca.crt"}, "logging": {"level": "error"}, "storage": {"backend": "memory"}}
END
    cat > "$dir/server.json" << END
{"server": {"http_addr": "127.0.0.1:$port", "tls_cert_file": "$dir/tls.crt", "tls_key_file": "$dir/tls.key"},
 "trust_service": {"type": "remote", "hostname": "localhost", "port": "$((port + 1))", "tls_ca_file": "$dir/ca.crt",
  "key_algorithm": "ecdsa", "tls_client_cert": "$dir/tls.crt", "tls_client_key": "$dir/tls.key"},
 "logging": {"level": "error"}, "storage": {"backend": "memory"}$auth}
END
    cat > "$dir/client.json" << END
{"trust_dir": "$dir/owner", "remote_server": {"url": "$url", "root_ca": "$dir/ca.crt"}}
END
    start signer notary-signer -config "$dir/signer.json" -logf logfmt
    wait_for_port $((port + 1))
    start server notary-server -config "$dir/server.json" -logf logfmt
    # shellcheck disable=SC2034  # for whoever measures it
    server_pid=$started
    wait_for_port "$port"
    export NOTARY_ROOT_PASSPHRASE=rootpass1 NOTARY_TARGETS_PASSPHRASE=repopass1 NOTARY_SNAPSHOT_PASSPHRASE=repopass1
    export NOTARY_DELEGATION_PASSPHRASE=repopass1
}

owner() { notary -c "$dir/client.json" "$@"; }

# shellcheck shell=bash disable=SC2034
# Words that every script of the rig uses: to say, to fail, to wait, to have the Debian packages. Sourced.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
# What may be kept between runs: the base image's tree, the building engine's layers. `make clean` removes it.
cache=${RIG_CACHE:-$repo/.rig}

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }
die() { printf 'rig: %s\n' "$*" >&2; exit 1; }
need_root() { [[ $EUID = 0 ]] || die "needs root: it starts a Docker engine of its own, in namespaces of its own"; }

# wait_for WHAT SECONDS COMMAND...: until the command succeeds
wait_for() {
    local what=$1 seconds=$2 deadline
    shift 2
    deadline=$((SECONDS + seconds))
    until "$@" > /dev/null 2>&1; do
        ((SECONDS < deadline)) || { printf 'rig: %s: not within %s s\n' "$what" "$seconds" >&2; return 1; }
        sleep 0.1
    done
}

# attended COMMAND...: run it so that a signal to this shell is not kept waiting until it ends
attended() {
    "$@" &
    attended=$!
    wait "$attended"
}

# on_exit COMMAND: run it when this shell ends, in whichever way; what is attended ends first
on_exit() {
    attended=''
    # shellcheck disable=SC2064  # expanded now
    trap "status=\$?; trap '' INT TERM; [[ -z \$attended ]] || kill \"\$attended\" 2> /dev/null || true; $1 \$status" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# packages COMMAND:PACKAGE...: install the packages whose command is missing, saying so first
packages() {
    local pair missing=() policy=/usr/sbin/policy-rc.d made='' status=0
    for pair; do
        command -v "${pair%%:*}" > /dev/null 2>&1 || [[ -e ${pair%%:*} ]] || missing+=("${pair#*:}")
    done
    ((${#missing[@]})) || return 0
    need_root
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    say "installing Debian packages: ${missing[*]}"
    # Packages of servers start them when they are installed; the rig starts its own, and this machine asked for none.
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        made=1
    fi
    {
        apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" < /dev/null
    } > "${TMPDIR:-/tmp}/rig-apt.$$" 2>&1 || status=$?
    [[ -z $made ]] || rm -f "$policy"
    ((status == 0)) || tail -n 30 "${TMPDIR:-/tmp}/rig-apt.$$" >&2
    rm -f "${TMPDIR:-/tmp}/rig-apt.$$"
    ((status == 0)) || die "apt-get could not install ${missing[*]}"
    hash -r
}

engine_packages=(dockerd:docker.io docker:docker.io containerd:containerd runc:runc ip:iproute2 nsenter:util-linux
    iptables:iptables curl:curl openssl:openssl /etc/ssl/certs/ca-certificates.crt:ca-certificates)
service_packages=(docker-registry:docker-registry notary:notary notary-server:notary notary-signer:notary
    busybox:busybox-static)
build_packages=(debootstrap:debootstrap make:make)
compile_packages=(gcc:gcc /usr/include/stdlib.h:libc6-dev make:make)
suite_packages=(shunit2:shunit2 python3:python3 /usr/share/doc/python3-jsonschema:python3-jsonschema
    /usr/lib/python3/dist-packages/cryptography:python3-cryptography make:make script:bsdutils docker-compose:docker-compose jq:jq)

# The mirror of the main Debian archive, as apt has it in its own sources.
mirror() {
    local site
    for _ in 1 2; do
        # shellcheck disable=SC2016  # apt's own variables
        site=$(apt-get indextargets --format '$(SITE) $(LABEL) $(COMPONENT)' 'Created-By: Packages' 2> /dev/null |
            awk '$2 == "Debian" && $3 == "main" {print $1; exit}')
        [[ -z $site ]] || break
        # The archive's label is known once its lists are here.
        apt-get -qq update > /dev/null
    done
    [[ -n $site ]] || die "apt's sources name no Debian mirror"
    printf '%s\n' "$site"
}

# Puts cargo of a rustup toolchain on the PATH, where a login shell would have put it.
find_cargo() {
    local home
    command -v cargo > /dev/null && return
    home=$(getent passwd "$(id -u)" | cut -d: -f6)
    for home in "${CARGO_HOME:-}" "${HOME:-}/.cargo" "$home/.cargo" /usr/local/cargo; do
        if [[ -x $home/bin/cargo ]]; then
            PATH=$home/bin:$PATH
            # rustup finds its toolchains through these, or through a HOME that may be another one here.
            export PATH CARGO_HOME=$home RUSTUP_HOME=${RUSTUP_HOME:-${home%/*}/.rustup}
            [[ -d $RUSTUP_HOME ]] || unset RUSTUP_HOME
            return
        fi
    done
    die "no cargo found: install the Rust toolchain that rust-toolchain.toml names"
}

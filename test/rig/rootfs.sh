#!/bin/bash
# Makes plugin/rootfs, in one of two ways.
#
#   rootfs.sh container    `make build`: the Dockerfile, on a private engine, with a stand-in for its base image
#   rootfs.sh compile      the same compilation by this machine's own toolchain (for the demo, where time counts)
#
# The stand-in bears the name of the real base image (rust:1.95-bookworm), so the Dockerfile that is tested is the one that
# ships: Debian 12 by debootstrap from the mirror that this machine's apt uses, and this machine's Rust 1.95.0. Its tree and
# the engine's layers stay in $RIG_CACHE (.rig) for the next run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$here/machine.sh"

base=rust:1.95-bookworm

compile() {
    local rootfs=$repo/plugin/rootfs
    packages "${compile_packages[@]}"
    find_cargo
    say "compiling with this machine's toolchain"
    on_exit :
    attended "$repo/plugin/compile.sh"
    rm -rf "$rootfs"
    "$repo/plugin/compile.sh" --rootfs "$rootfs"
}

# Debian 12 with a C compiler, for the crates that hold C.
tree() {
    local tree=$cache/bookworm site
    [[ ! -e $tree.complete ]] || return 0
    site=$(mirror)
    say "base image: debootstrap of Debian 12"
    rm -rf "$tree"
    # In the machine's mount namespace, so that what debootstrap mounts goes with it.
    attended inside "$dir" debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$tree" "$site" \
        > "$dir/log/debootstrap.log" 2>&1 || { tail -n 20 "$dir/log/debootstrap.log" >&2; die "debootstrap failed"; }
    rm -f "$tree"/var/cache/apt/archives/*.deb
    # Where a proxy with a certificate of its own stands before the crates registry, the machine knows its authority.
    cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
    touch "$tree.complete"
}

import() {
    local sysroot libraries
    if inside "$dir" docker image inspect "$base" > /dev/null 2>&1; then return 0; fi
    tree
    find_cargo
    sysroot=$(cd "$repo" && rustc --print sysroot)
    say "base image: importing it as $base"
    # The members of lib, not lib itself, which the tree has already.
    mapfile -t libraries < <(cd "$sysroot" && printf '%s\n' lib/*)
    tar -c --exclude 'rustlib/src' --transform 's,^\(bin\|lib\)/,usr/local/\1/,' \
        -C "$cache/bookworm" . -C "$sysroot" bin/cargo bin/rustc "${libraries[@]}" |
        inside "$dir" docker import -c 'ENV CARGO_HOME=/usr/local/cargo' \
            -c 'ENV PATH=/usr/local/cargo/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$base" > /dev/null
}

finish() {
    machine_stop "$dir"
    rm -rf "$dir"
}

container() {
    need_root
    packages "${engine_packages[@]}" "${build_packages[@]}"
    mkdir -p "$cache"
    # The engine's layers are one engine's at a time.
    exec 9> "$cache/lock"
    flock 9
    dir=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
    on_exit finish
    machine_start "$dir" open "$cache/engine"
    # The classic builder: a bare machine's docker has no other.
    echo DOCKER_BUILDKIT=0 >> "$dir/env"
    say "building engine: starting"
    inside "$dir" "$here/engine.sh" start
    import
    say "make build"
    attended inside "$dir" make -C "$repo" build BUILD_FLAGS=--network=host
    inside "$dir" docker image prune -f > /dev/null
    inside "$dir" "$here/engine.sh" stop
}

case ${1:-} in
container | compile) "$1" ;;
*) die "rootfs.sh: container or compile" ;;
esac

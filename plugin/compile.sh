#!/bin/sh
# Compiles the static binary; the one place that says with which flags. Used by the Dockerfile, `make install-cli`
# and `make demo`.
#
#   plugin/compile.sh                 compile; the binary's path is the last line printed
#   plugin/compile.sh --rootfs DIR    lay out what was compiled as the plugin's root file system
set -eu
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
binary=${CARGO_TARGET_DIR:-target}/$target/release/img-authz

if [ "${1:-}" = --rootfs ]; then
    # Each folder is a mount point (plugin/config.json), but for the first: dockerd binds the socket's folder there.
    for folder in run/docker/plugins config state host-run; do mkdir -p "${2:?--rootfs needs a folder}/$folder"; done
    cp "$binary" "$2/img-authz"
    # The public CAs, for registries and Notary servers with certificates of theirs.
    mkdir -p "$2/etc/ssl/certs"
    cp /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/"
    exit
fi

cargo fetch --locked --target "$target"

# Static: the plugin's root has no C library. Remapped: panic messages name no path of the machine that compiled, and the
# same sources give the same binary everywhere. Separated by 0x1f, as cargo wants it, since paths may hold spaces.
separator=$(printf '\037')
# A static program moves its own pointers at each start; packed, their list is 0.4 MB less to read.
flags="-Ctarget-feature=+crt-static${separator}-Clink-arg=-Wl,-z,pack-relative-relocs${separator}--remap-path-prefix=$PWD=/src"
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags="$flags${separator}--remap-path-prefix=$folder=/crates"
done

# `--target` keeps the flags off build scripts and procedural macros, which cannot be static. What is compiled for size
# (Cargo.toml) is inlined up to LLVM's threshold of 50; at the last link, which sees all of the program, up to 100: 17.2 MB, and nearly as quick as
# compiled for speed, which takes 19.6.
CARGO_ENCODED_RUSTFLAGS=$flags cargo rustc --release --locked --bin img-authz --target "$target" -- -Cllvm-args=-inline-threshold=100
echo "$binary"

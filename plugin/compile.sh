#!/bin/sh
# Compiles the static binary; the one place that says with which flags. Used by the Dockerfile, `make install-cli`, `make deb`
# and `make demo`.
#
#   plugin/compile.sh                 compile; the binary's path is the last line printed
#   plugin/compile.sh --rootfs DIR    lay out what was compiled as the plugin's root file system
#   plugin/compile.sh --target        print the Rust target
#
#   ARCH=amd64|arm64    for which machine; this one unless given. For another, that target of rustup's and a cross compiler
#                       (Debian: gcc-aarch64-linux-gnu, gcc-x86-64-linux-gnu) are needed
#   SYMBOLS=keep        with the names of its functions
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
case ${ARCH:-} in
'') target=$host ;;
amd64) target=x86_64-unknown-linux-gnu ;;
arm64) target=aarch64-unknown-linux-gnu ;;
*) echo "compile.sh: ARCH is amd64 or arm64, not $ARCH" >&2; exit 1 ;;
esac
if [ "${1:-}" = --target ]; then echo "$target"; exit; fi
binary=${CARGO_TARGET_DIR:-target}/$target/release/img-authz

if [ "${1:-}" = --rootfs ]; then
    # Each folder is a mount point (plugin/config.json), but for the first: dockerd binds the socket's folder there.
    for folder in run/docker/plugins config state host-run; do mkdir -p "${2:?--rootfs needs a folder}/$folder"; done
    cp "$binary" "$2/img-authz"
    # The public CAs, for registries and Notary servers with certificates of theirs.
    mkdir -p "$2/etc/ssl/certs"
    cp /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/"
    # The same files have the same date, whenever they were made.
    [ -z "${SOURCE_DATE_EPOCH:-}" ] || find "$2" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    exit
fi

if [ "$target" != "$host" ]; then
    prefix=$(echo "$target" | sed 's/-unknown//')
    # cargo takes the linker, and the builds of C take the compiler, from variables with the target in their names.
    name=$(echo "$target" | tr '[:lower:]-' '[:upper:]_')
    export "CARGO_TARGET_${name}_LINKER=$prefix-gcc" "CC_$(echo "$target" | tr - _)=$prefix-gcc" "AR_$(echo "$target" | tr - _)=$prefix-ar"
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

# `--target` keeps the flags off build scripts and procedural macros, which cannot be static. The last link sees all of the program: there what
# is compiled for size (Cargo.toml) and for speed is inlined up to one threshold, 50; without one it is 0.2 MB less. Functions begin at
# even addresses, not at multiples of sixteen: 0.1 MB less. 18 MB is the most.
set -- -Cllvm-args=-inline-threshold=50 -Cllvm-args=-align-all-functions=1
[ "${SYMBOLS:-}" = keep ] || set -- "$@" -Clink-arg=-Wl,--strip-all
# What runs lies side by side (bench/order.sh): idle memory is 8.6 MB, not 13. Only LLVM's linker, which Rust has for this target, takes such a list; a
# name that is not in the program is passed over.
if [ "$target" = x86_64-unknown-linux-gnu ] && [ -e plugin/order.txt ]; then
    set -- "$@" "-Clink-arg=-Wl,--symbol-ordering-file=$PWD/plugin/order.txt" -Clink-arg=-Wl,--no-warn-symbol-ordering
fi
CARGO_ENCODED_RUSTFLAGS=$flags cargo rustc --release --locked --bin img-authz --target "$target" -- "$@"
echo "$binary"

#!/bin/bash
# The program and the package for arm64, by this machine's cross compiler; the program says its version under QEMU.
set -euo pipefail
. "$(dirname "$0")/rig/lib.sh"
find_cargo
packages "${compile_packages[@]}" aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdlib.h:libc6-dev-arm64-cross \
    qemu-aarch64-static:qemu-user-static
target=aarch64-unknown-linux-gnu
if [[ ! -d $(cd "$repo" && rustc --print sysroot)/lib/rustlib/$target/lib ]]; then
    # Where rustup reaches its own server.
    (cd "$repo" && rustup target add "$target") || die "the toolchain has no library for $target: rustup target add $target"
fi
binary=$(ARCH=arm64 "$repo/plugin/compile.sh" | tail -n 1)
qemu-aarch64-static "$binary" --version
folder=$(mktemp -d)
on_exit "rm -rf '$folder'; :"
package=$("$repo/packaging/deb.sh" "$binary" "$folder" | tail -n 1)
[[ $(dpkg-deb --field "$package" Architecture) = arm64 ]] || die "the package is not for arm64"

#!/bin/bash
# Two compilations of one checkout, in folders of other names and with other homes of cargo, give the same program, the same root file
# system as an archive, the same package and the same bill of materials.
set -euo pipefail
. "$(dirname "$0")/rig/lib.sh"
packages "${compile_packages[@]}" jq:jq
find_cargo
SOURCE_DATE_EPOCH=$(git -C "$repo" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
unset CARGO_TARGET_DIR

scratch=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
on_exit "rm -rf '$scratch'; :"
for folder in one another-one; do
    say "compiling in a folder called $folder"
    mkdir "$scratch/$folder"
    git -C "$repo" archive HEAD | tar -x -C "$scratch/$folder"
    # The downloads are shared, their sources are unpacked where this home is.
    mkdir -p "$scratch/home-of-$folder/registry"
    for shared in cache index; do ln -s "${CARGO_HOME:-$HOME/.cargo}/registry/$shared" "$scratch/home-of-$folder/registry/$shared"; done
    cp "${CARGO_HOME:-$HOME/.cargo}"/config.toml "$scratch/home-of-$folder/" 2> /dev/null || true
    (
        cd "$scratch/$folder"
        export CARGO_HOME=$scratch/home-of-$folder
        # Another day's umask and time of the files change nothing either.
        umask 022
        binary=$(attended plugin/compile.sh | tail -n 1)
        plugin/compile.sh --rootfs plugin/rootfs
        tar --sort=name --owner=0 --group=0 --numeric-owner -c -C plugin/rootfs -f ../"$folder.rootfs.tar" .
        cp "$binary" ../"$folder.program"
        packaging/deb.sh "$binary" ../"$folder.deb" > /dev/null
        packaging/sbom.sh > ../"$folder.cdx.json"
        rm -rf target
    )
done
status=0
for kind in program rootfs.tar cdx.json; do
    cmp "$scratch/one.$kind" "$scratch/another-one.$kind" || status=1
done
cmp "$scratch"/one.deb/*.deb "$scratch"/another-one.deb/*.deb || status=1
((status == 0)) || die "the bytes differ"
# Whatever is needed is listed, and the crates that verify are among it.
jq -e '[.components[]."bom-ref"] as $listed | all(.dependencies[].dependsOn[]; . as $needed | $listed | index($needed)) and
    ([.components[].name] | contains(["img-authz", "aws-lc-rs", "rustls", "ca-certificates.crt"]))' "$scratch/one.cdx.json" > /dev/null ||
    die "the bill of materials lacks something"
sha256sum "$scratch"/one.program "$scratch"/one.rootfs.tar "$scratch"/one.cdx.json "$scratch"/one.deb/*.deb | sed "s,$scratch/,,"

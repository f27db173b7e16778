#!/bin/bash
# The software bill of materials of the plugin, CycloneDX 1.6 as JSON, on standard output: every crate that is linked into the program, by
# Cargo.lock, and the files of plugin/rootfs where that is made. The same each time. Needs cargo and jq.
#
#   sbom.sh [TARGET]     a Rust target; this machine's
#
# `cargo metadata` knows all of it; a tool of its own would be compiled for minutes, and puts the time and a random number in.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
date=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date -r Cargo.lock +%s)}" +%FT%TZ)

# files: what the plugin's root file system holds, with hashes; none where it is not made
files() {
    [[ ! -d plugin/rootfs ]] || find plugin/rootfs -type f \( -path '*/img-authz' -o -path '*/ca-certificates.crt' \) -exec sha256sum {} + |
        sed 's,  plugin/rootfs/, ,'
}

cargo metadata --locked --format-version 1 --filter-platform "$target" |
    jq --sort-keys --arg date "$date" --arg target "$target" --arg files "$(files)" --rawfile lock Cargo.lock '
    # name@version → the checksum of Cargo.lock; what lies in this repository has none
    ($lock | [splits("\\[\\[package\\]\\]\\n")] | map({
        key: ((capture("name = \"(?<n>[^\"]+)\"") // {n: ""}).n + "@" + (capture("version = \"(?<v>[^\"]+)\"") // {v: ""}).v),
        value: ((capture("checksum = \"(?<c>[^\"]+)\"") // {c: null}).c)}) | from_entries) as $sums
    | (.packages | map({key: .id, value: .}) | from_entries) as $packages
    | (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $needs
    # What code generators need (procedural macros) is in no program.
    | def is_linked: any($packages[.].targets[]; .kind | any(. == "lib" or . == "rlib" or . == "bin"));
      def reached($seen; $next): if ($next | length) == 0 then $seen else
          ([$next[] | $needs[.][] | select(is_linked)] | unique) as $more | reached($seen + $next | unique; $more - $seen - $next) end;
      def ref: "pkg:cargo/\($packages[.].name)@\($packages[.].version)";
      .resolve.root as $root
    | reached([]; [$root]) as $linked
    | ($files | split("\n") | map(select(. != "") | split(" ") | {hash: .[0], name: .[1]})) as $held
    | {
        bomFormat: "CycloneDX", specVersion: "1.6", version: 1,
        metadata: {
            timestamp: $date,
            tools: {components: [{type: "application", name: "packaging/sbom.sh"}]},
            component: {type: "container", "bom-ref": "plugin", name: "img-authz", version: $packages[$root].version,
                description: $packages[$root].description, licenses: [{expression: $packages[$root].license}],
                properties: [{name: "rust:target", value: $target}]},
        },
        components: (
            ($linked | map($packages[.] + {ref: ref} | {
                type: (if .id == $root then "application" else "library" end), "bom-ref": .ref, name, version, purl: .ref,
                licenses: [{expression: (.license // "NOASSERTION" | gsub("/"; " OR "))}]
              } + (if $sums["\(.name)@\(.version)"] then {hashes: [{alg: "SHA-256", content: $sums["\(.name)@\(.version)"]}]} else {} end)
                + (if .repository then {externalReferences: [{type: "vcs", url: .repository}]} else {} end)) | sort_by(."bom-ref"))
            + ($held | map({type: "file", "bom-ref": "file:\(.name)", name: .name, hashes: [{alg: "SHA-256", content: .hash}]}))),
        dependencies: (
            [{ref: "plugin", dependsOn: ([$root | ref] + [$held[] | "file:\(.name)"])}]
            + ($linked | map(. as $id | {ref: ref, dependsOn: [$needs[.][] | select(. as $d | $linked | index($d)) | ref] | unique}) | sort_by(.ref))),
    }'

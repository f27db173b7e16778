#!/bin/bash
# What one call costs on the thread that serves the socket, beside the largest repositories that pass: the most tags of one digest, the
# most signers, the most paths. Ends with 1 where a call takes a millisecond or more.
#
#   bench/size.sh            (compiles the tests as a release build is; `bench/size.sh --dev` takes them as they are)
set -euo pipefail
cd "$(dirname "$0")/.."
release=(--release)
[[ ${1:-} != --dev ]] || release=()
cargo test --quiet --locked "${release[@]}" --test it trust::size -- --nocapture

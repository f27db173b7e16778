#!/bin/bash
# Which functions run where the gate starts, decides and verifies: plugin/order.txt, by which plugin/compile.sh puts them side by side. The
# kernel maps a program by pieces of 64 KiB, so what lies between them costs memory and time: idle memory is 8.6 MB with the list and 13 without.
#
#   bench/order.sh COSIGN NOTATION [PROGRAM]
#
# PROGRAM: compiled with SYMBOLS=keep; made unless given. It runs bench/signatures.sh under valgrind, some minutes. To be done
# before a release: names that the program does not have (a compiler's or a crate's next version has others) are passed over, and the first
# line printed says how many are left of the old list. Needs valgrind, and what bench/signatures.sh needs.
set -euo pipefail
cosign=$(realpath "${1:?cosign}") notation=$(realpath "${2:?notation}") program=${3:-}
cd "$(dirname "$0")/.."
[[ -n $program ]] || program=$(SYMBOLS=keep plugin/compile.sh | tail -n 1)
program=$(realpath "$program")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nm "$program" | awk 'toupper($2) ~ /[TW]/ { print $3 }' | sort -u > "$dir/names"
if [[ -e plugin/order.txt ]]; then
    echo "of $(wc -l < plugin/order.txt) names the program still has $(sort plugin/order.txt | comm -12 - "$dir/names" | wc -l)"
fi
cat > "$dir/gate" << END
#!/bin/sh
exec valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file="$dir/%p.run" "$program" "\$@"
END
chmod +x "$dir/gate"
BENCH_IMAGES=2 bench/signatures.sh "$dir/gate" "$cosign" "$notation" 1 > "$dir/said" 2>&1 || {
    cat "$dir/said" >&2
    exit 1
}
# What most runs use comes first. A function that calls itself has a number behind its name.
for run in "$dir"/*.run; do
    sed -n "s/^c\?fn=([0-9]*) \([^']*\).*/\1/p" "$run" | sort -u | comm -12 - "$dir/names"
done | sort | uniq -c | sort -k1,1nr -k2 | awk '{ print $2 }' > "$dir/order"
mv "$dir/order" plugin/order.txt
echo "plugin/order.txt: $(wc -l < plugin/order.txt) functions of $(find "$dir" -name '*.run' | wc -l) runs"

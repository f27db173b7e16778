#!/bin/bash
# `img-authz trust verify` beside `notary lookup`, cold (no state) and warm, on one running Notary server. Medians of wall and
# CPU time in milliseconds, process start and TLS handshake included; compare the ratios, never the absolute times.
#
#   bench/trust.sh IMG-AUTHZ SERVER ROOT-CA REPOSITORY TAG [RUNS]
set -euo pipefail
gate=$1 server=$2 ca=$3 gun=$4 tag=$5 runs=${6:-20}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf '{"trust_dir": "%s/x", "remote_server": {"url": "%s", "root_ca": "%s"}}\n' "$dir" "$server" "$ca" > "$dir/notary.json"

python3 - "$dir" "$runs" \
	"notary -c $dir/notary.json -d $dir/notary lookup $gun $tag" \
	"$gate trust verify $gun:$tag --server $server --root-ca $ca --state $dir/state --json" <<'PY'
import os, resource, shutil, statistics, subprocess, sys, time

folder, runs, theirs, ours = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(), sys.argv[4].split()

def once(command):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

results = {}
for state in "cold", "warm":
    times = {"notary": [], "img-authz": []}
    # Taken in turn, so that a busy machine is busy for both.
    for _ in range(runs):
        for name, command in ("notary", theirs), ("img-authz", ours):
            if state == "cold":
                for kept in "notary", "state":
                    shutil.rmtree(os.path.join(folder, kept), ignore_errors=True)
            times[name].append(once(command))
    for name, pairs in times.items():
        results[state, name] = [statistics.median(column) for column in zip(*pairs)]
        print(f"{state} {name:10} wall {results[state, name][0]:7.2f}  cpu {results[state, name][1]:7.2f}")
    ratio = [a / b for a, b in zip(results[state, "img-authz"], results[state, "notary"])]
    print(f"{state} ratio      wall {ratio[0]:7.2f}  cpu {ratio[1]:7.2f}")
PY

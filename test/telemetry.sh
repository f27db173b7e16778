#!/bin/bash
# What the gate pushes, taken by a real OpenTelemetry collector over TLS: entries of the audit log, figures, spans of a decision. A gate
# and a Notary server on loopback, no engine; seconds. Building the collector: minutes, once, and two gigabytes meanwhile.
#
#   test/telemetry.sh [IMG-AUTHZ]      (default: target/debug/img-authz, built if it is not there)
#
# Needs root, and the Debian release whose collector it is. Ports: TELEMETRY_PORT (default 25318) and the two behind it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=test/rig/lib.sh
. test/rig/lib.sh
packages notary:notary notary-server:notary notary-signer:notary openssl:openssl curl:curl debootstrap:debootstrap \
    /usr/share/doc/python3-prometheus-client:python3-prometheus-client
gate=${1:-target/debug/img-authz}
if [[ ! -x $gate ]]; then
    find_cargo
    cargo build --locked
fi
gate=$(realpath "$gate")
collector=$(test/rig/tree.sh collector "${TELEMETRY_RELEASE:-forky}")
port=${TELEMETRY_PORT:-25318}
dir=$(mktemp -d)
checks=0
# shellcheck source=test/rig/notary.sh
. test/rig/notary.sh
trap stop_all EXIT

die() {
    echo "telemetry: $*" >&2
    tail -n 20 "$dir"/{collector,gate}.log >&2 || true
    exit 1
}

notary_up "$((port + 1))"
cat > "$dir/collector.yaml" << END
receivers: {otlp: {protocols: {http: {endpoint: "localhost:$port", tls: {cert_file: "$dir/tls.crt", key_file: "$dir/tls.key"}}}}}
exporters: {debug: {verbosity: detailed}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [otlp], exporters: [debug]}
    metrics: {receivers: [otlp], exporters: [debug]}
    traces: {receivers: [otlp], exporters: [debug]}
END
start collector "$collector" --config "$dir/collector.yaml"
wait_for_port "$port"

gun=localhost:5000/telemetry/app
owner init -p "$gun" > "$dir/owner.log" 2>&1
owner addhash -p "$gun" 1.0 3 --sha256 "$(printf one | sha256sum | cut -d' ' -f1)" > "$dir/owner.log" 2>&1
socket=$dir/gate.sock
mkdir -p "$dir/config/certs.d/localhost:$port"
cp "$dir/ca.crt" "$dir/config/certs.d/localhost:$port/"
start gate env -i PATH="$PATH" REGISTRY=localhost:5000 NOTARY="$url" NOTARY_ROOT_CA="$(< "$dir/ca.crt")" STATE_DIR="$dir/state" \
    CONFIG_DIR="$dir/config" DOCKER_CONFIG="$dir/config" DOCKER_HOST=unix:///nowhere.sock ALLOWLIST=off \
    AUDIT_SINKS="otlp=https://localhost:$port" TELEMETRY="metrics=https://localhost:$port traces=https://localhost:$port" \
    "$gate" serve --socket "$socket"
wait_for 'the gate' 30 curl -sf --unix-socket "$socket" -X POST http://gate/Plugin.Activate
# Spans of calls that are made while the gate is still starting may be missing.
wait_for 'the self-check' 30 grep -q 'self-check: the settings' "$dir/gate.log"

# asked TAG: the gate's answer to the pull
asked() {
    local call='{"RequestMethod": "POST", "RequestUri": "/v1.43/images/create?fromImage='$gun'&tag='$1'",
        "RequestHeaders": {"Content-Length": "0"}}'
    curl -s --max-time 20 --unix-socket "$socket" -X POST --data "$call" http://gate/AuthZPlugin.AuthZReq
}
[[ $(asked 1.0) == *'"Allow":true'* ]] || die 'the signed tag is refused'
[[ $(asked 2.0) == *not-signed* ]] || die 'the unsigned tag is not refused'

# came WHAT SECONDS WORDS: the collector has read it so
came() {
    wait_for "$1" "$2" grep -qE -- "$3" "$dir/collector.log" || die "$1 did not come"
    checks=$((checks + 1))
}
came 'entries of the log' 10 'LogsExporter|otelcol.signal": "logs"'
came 'the refusal, as its body' 10 'Body: Str\(\{.*"event":"BLOCKED".*not-signed'
came 'its severity' 1 'SeverityNumber: (Info2|Warn)\('
came 'its code' 1 'img_authz.code: Str\(not-signed\)'
came 'its link of the chain' 1 'img_authz.chain: Str\([0-9a-f]{64}\)'
came 'who tells' 1 'service.name: Str\(img-authz\)'
for span in decision gather verifier http; do came "the span $span" 10 "Name +: $span\$"; done
came 'the span of the decision is the root' 1 'Parent ID +: $'
came 'and has others under it' 1 'Parent ID +: [0-9a-f]{16}$'
came 'figures' 10 'Name: img_authz_'
came 'counters' 1 'DataType: Sum'
came 'which count from the start' 1 'AggregationTemporality: Cumulative'
came 'gauges' 1 'DataType: Gauge'
came 'the histogram' 1 'DataType: Histogram'
# What looked whether its port is open made no handshake.
! grep -v 'TLS handshake error' "$dir/collector.log" | grep -q '	error	' || die 'the collector complains'
! grep -q 'the collector says' "$dir/gate.log" || die 'the collector refuses something'

# The same figures as text: OpenMetrics to the letter, says Prometheus' own reader of it.
wait_for 'the file of metrics' 20 test -s "$dir/state/metrics.prom"
/usr/bin/python3 - "$dir/state/metrics.prom" << 'END' || die 'the metrics are not OpenMetrics'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
assert any(family.samples for family in text_string_to_metric_families(open(sys.argv[1]).read()))
END
checks=$((checks + 1))
echo "telemetry: $checks checks, all as expected"

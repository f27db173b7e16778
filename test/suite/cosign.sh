# shellcheck shell=bash disable=SC2154
# Images signed by the real cosign, where the rig has it (RIG_COSIGN). Sourced by tests.sh, whose words it uses.

not_in_registry='not-in-registry'
signed=registry.test:5000/signed

# cosign ...: as who signs
cosign() { (cd "$SHUNIT_TMPDIR" && HOME=$SHUNIT_TMPDIR COSIGN_PASSWORD='' SSL_CERT_FILE=$RIG/pki/ca.crt "$RIG_COSIGN" "$@"); }

# cosign_signs KEY DIGEST [FLAG...]
cosign_signs() {
    local key=$1 digest=$2 output
    shift 2
    output=$(cosign sign --key "$key.key" --tlog-upload=false --use-signing-config=false --yes "$@" "$signed@$digest" 2>&1)
    assertTrue "cosign has signed $digest: $output" $?
}

# cosign_decides EDITION: this edition of the policy is in force
cosign_decides() {
    wait_until 5 in_policy "# edition $1"
    assertTrue "edition $1 is in force" $?
}

# by_cosign EDITION KEY: the policy that asks for signatures by this key
by_cosign() {
    cp "$SHUNIT_TMPDIR/$2.pub" "$policy_folder"/release.pub
    policy << END
# edition $1
version = 1

[verifiers.release]
type = "cosign"
keys = ["release.pub"]

[[scope]]
match = "$signed"
require = "release"
END
}

[[ -z ${RIG_COSIGN:-} ]] || further_tests+=(test_images_signed_by_cosign_run_and_others_do_not)
test_images_signed_by_cosign_run_and_others_do_not() {
    local legacy bundle others before container output
    mkdir -p "$policy_folder"
    for key in release stranger; do cosign generate-key-pair --output-key-prefix $key > /dev/null 2>&1; done
    before_the_gate publish_for_cosign
    legacy=$(cut -d' ' -f1 <<< "$(manifest $signed:legacy)")
    bundle=$(cut -d' ' -f1 <<< "$(manifest $signed:bundle)")
    others=$(cut -d' ' -f1 <<< "$(manifest $signed:others)")
    cosign_signs release "$legacy" --new-bundle-format=false
    cosign_signs release "$bundle" --new-bundle-format
    cosign_signs stranger "$others" --new-bundle-format
    # Beside the variables it is not in force yet.
    by_cosign one release
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA= POSTURE= ALLOW_HOST_ACCESS=
    cosign_decides one

    before=$(audit_lines)
    pulled $signed:legacy
    prints "by cosign 2" run $signed:legacy
    pulled $signed:bundle
    prints "by cosign 3" run $signed:bundle
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["release"]' '"signers":["release.pub"]'
    assertTrue "the signer is on record" $?
    pulled "$signed@$bundle"
    refused "$not_signed" docker pull $signed:unsigned
    refused "$not_signed" run $signed:unsigned
    refused "$signer_missing" docker pull $signed:others
    refused "$not_in_registry" docker pull $signed:missing

    output=$(gate_says trust verify $signed:bundle --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json)
    assertEquals "the command says who signed" \
        "{\"digest\":\"$bundle\",\"verifiers\":[{\"name\":\"release\",\"type\":\"cosign\",\"signers\":[\"release.pub\"]}]}" "$output"
    output=$(gate_says trust verify $signed:others --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json)
    assertEquals "and who did not: $output" 2 $?
    assertContains "by the code" "$output" "\"code\":\"$signer_missing\""

    # Unsigned content under a signed name, on the host.
    make_image $signed:local evil > /dev/null
    refused "$not_signed" run $signed:local
    docker tag $signed:local $signed:bundle
    refused "$not_signed" run $signed:bundle
    # The tag is moved in the registry: a pull is judged by what it is for now.
    container=$(docker create --network none $signed:legacy)
    move_tag unsigned legacy
    refused "$not_signed" docker pull $signed:legacy
    assertTrue "what is here is still what was signed" "docker start $container"
    docker rm -f "$container" > /dev/null
    # The stranger's key takes the place of the other: what it signed runs, and nothing else.
    by_cosign two stranger
    cosign_decides two
    pulled $signed:others
    prints "by a stranger" run $signed:others
    refused "$signer_missing" run $signed:legacy

    # The registry is taken away, and the gate begins anew: what was verified starts, what was not is not taken for unsigned.
    container=$(docker create --network none $signed:others)
    output=$(gate_says trust status)
    assertContains "what is kept is shown: $output" "$output" "$others"
    "$RIG_TOOLS/service.sh" stop registry
    reconfigure LOG=info
    cosign_decides two
    prints "by a stranger" run $signed:others
    assertTrue "what was verified starts" "docker start $container"
    refused "$trust_unreachable" docker pull $signed:others
    refused "$trust_unreachable" run $signed:legacy
    # What is forgotten has to be asked for.
    gate_says trust forget "$others" > /dev/null
    assertTrue "the digest is forgotten" $?
    wait_until 10 starts_no_more "$container"
    assertTrue "and does not start" $?
    "$RIG_TOOLS/service.sh" start registry docker-registry serve "$RIG/registry.yml"
    wait_until 20 docker pull -q $signed:others > /dev/null 2>&1
    assertTrue "once it is back, the pull is allowed" $?
    docker rm -f "$container" > /dev/null
    # Names that were put on other content are evidence for nobody who comes after.
    docker images --format '{{.Repository}}:{{.Tag}}' "$signed" | xargs -r docker rmi -f > /dev/null
    rm -f "$policy_folder"/policy.toml "$policy_folder"/release.pub
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

# starts_no_more CONTAINER: the gate has taken in what was forgotten
starts_no_more() {
    docker stop -t 0 "$1" > /dev/null 2>&1
    ! docker start "$1" > /dev/null 2>&1
}

# move_tag FROM TO: the registry has FROM's manifest under the tag TO as well
move_tag() {
    local url=https://${signed%%/*}/v2/${signed#*/}/manifests type
    type=$(manifest "$signed:$1" | cut -d' ' -f3)
    curl -sf --cacert "$RIG/pki/ca.crt" -H "Accept: $type" "$url/$1" > "$SHUNIT_TMPDIR/manifest"
    curl -sf --cacert "$RIG/pki/ca.crt" -X PUT -H "Content-Type: $type" --data-binary @"$SHUNIT_TMPDIR/manifest" "$url/$2"
}

publish_for_cosign() {
    publish $signed:legacy "by cosign 2" > /dev/null
    publish $signed:bundle "by cosign 3" > /dev/null
    publish $signed:others "by a stranger" > /dev/null
    publish $signed:unsigned "by nobody" > /dev/null
    docker rmi -f $signed:legacy $signed:bundle $signed:others $signed:unsigned > /dev/null
}

# by_statement EDITION: the policy that asks for what must be stated, by the key release
by_statement() {
    policy << END
# edition $1
version = 1

[verifiers.release]
type = "cosign"
keys = ["release.pub"]

[verifiers.scanned]
type = "attestation"
signed_by = "release"
predicate_type = "https://cosign.sigstore.dev/attestation/vuln/v1"
max_age = 30
severity = "high"

[[scope]]
match = "$signed"
require = "scanned"
END
}

# report NAME TIME [ID]: what a scanner would write at this time, with a finding of severity HIGH
report() {
    local found=${3:+{\"VulnerabilityID\":\"$3\",\"Severity\":\"HIGH\"\}}
    cat > "$SHUNIT_TMPDIR/$1.json" << END
{"invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
 "scanner": {"uri": "pkg:github/aquasecurity/trivy@0.60", "version": "0.60", "db": {"uri": "", "version": ""},
  "result": {"SchemaVersion": 2, "Results": [{"Target": "app", "Class": "os-pkgs", "Vulnerabilities": [$found]}]}},
 "metadata": {"scanStartedOn": "$2", "scanFinishedOn": "$2"}}
END
}

# cosign_attests KEY DIGEST REPORT [FLAG...]
cosign_attests() {
    local key=$1 digest=$2 report=$3 output
    shift 3
    output=$(cosign attest --key "$key.key" --type vuln --predicate "$report.json" --tlog-upload=false --use-signing-config=false --yes "$@" \
        "$signed@$digest" 2>&1)
    assertTrue "cosign has attested $report of $digest: $output" $?
}

[[ -z ${RIG_COSIGN:-} ]] || further_tests+=(test_what_is_stated_of_an_image_lets_it_run_and_nothing_else_does)
test_what_is_stated_of_an_image_lets_it_run_and_nothing_else_does() {
    local legacy bundle others now output
    mkdir -p "$policy_folder"
    for key in release stranger; do cosign generate-key-pair --output-key-prefix $key > /dev/null 2>&1; done
    cp "$SHUNIT_TMPDIR/release.pub" "$policy_folder"/release.pub
    before_the_gate publish_for_cosign
    legacy=$(cut -d' ' -f1 <<< "$(manifest $signed:legacy)")
    bundle=$(cut -d' ' -f1 <<< "$(manifest $signed:bundle)")
    others=$(cut -d' ' -f1 <<< "$(manifest $signed:others)")
    now=$(date -u +%s)
    report clean "$(date -u -d "@$((now - 7200))" +%FT%TZ)"
    report dirty "$(date -u -d "@$((now - 3600))" +%FT%TZ)" CVE-2026-1
    cosign_attests release "$legacy" clean --new-bundle-format=false
    cosign_attests release "$bundle" clean --new-bundle-format
    cosign_attests stranger "$others" clean --new-bundle-format
    by_statement three
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA= POSTURE= ALLOW_HOST_ACCESS=
    cosign_decides three

    pulled $signed:legacy
    prints "by cosign 2" run $signed:legacy
    pulled $signed:bundle
    prints "by cosign 3" run $signed:bundle
    refused not-attested docker pull $signed:unsigned
    refused "$signer_missing" docker pull $signed:others
    # A newer scan found something: it decides, at the next pull.
    cosign_attests release "$bundle" dirty --new-bundle-format
    refused attestation-refused docker pull $signed:bundle
    output=$(gate_says trust verify $signed:bundle --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json)
    assertEquals "the command says so: $output" 2 $?
    assertContains "by the code" "$output" '"code":"attestation-refused"'
    output=$(gate_says trust verify $signed:legacy --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json)
    assertContains "and what holds" "$output" '"verifiers":[{"name":"scanned","type":"attestation","signers":["release.pub"]}]'

    docker images --format '{{.Repository}}:{{.Tag}}' "$signed" | xargs -r docker rmi -f > /dev/null
    rm -f "$policy_folder"/policy.toml "$policy_folder"/release.pub
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

ci=https://ci.rig.test/acme/app/.github/workflows/release.yml@refs/tags/v1
issuer=https://issuer.rig.test

# sigstore NAME PORT: a stand-in for Sigstore (test/rig/sigstore.py), with keys of its own
sigstore() {
    mkdir -p "$SHUNIT_TMPDIR/$1"
    "$RIG_TOOLS/service.sh" start "$1" /usr/bin/python3 "$RIG_TOOLS/sigstore.py" "$2" "$SHUNIT_TMPDIR/$1"
    wait_until 10 test -s "$SHUNIT_TMPDIR/$1/signing_config.json"
}

# cosign_signs_as SIGSTORE ISSUER SUBJECT NAME: keyless, by a certificate, a log and a timestamp
cosign_signs_as() {
    local output digest token status=0
    digest=$(cut -d' ' -f1 <<< "$(manifest "$signed:$4")")
    token=$(/usr/bin/python3 "$RIG_TOOLS/sigstore.py" token "$2" "$3")
    output=$(cosign sign --identity-token "$token" --signing-config "$1/signing_config.json" --trusted-root "$1/trusted_root.json" --yes \
        "$signed@$digest" 2>&1) || status=$?
    assertEquals "cosign has signed $4 as $3: $output" 0 "$status"
}

# by_identity EDITION SUBJECT: the policy that asks for signatures by this identity
by_identity() {
    policy << END
# edition $1
version = 1

[verifiers.ci]
type = "cosign"
identities = [{ issuer = "$issuer", subject = "$2" }]
trusted_root = "trusted_root.json"

[[scope]]
match = "$signed"
require = "ci"
END
}

publish_for_identities() {
    local name
    for name in ci stripped subject issuer root hung fulcio ct stamps nobody; do publish "$signed:$name" "signed: $name" > /dev/null; done
    docker rmi -f $signed:{ci,stripped,subject,issuer,root,hung,fulcio,ct,stamps,nobody} > /dev/null
}

# strip NAME: nothing points at this image in the registry any more
strip() {
    local digest
    digest=$(cut -d' ' -f1 <<< "$(manifest "$signed:$1")")
    curl -sf --cacert "$RIG/pki/ca.crt" -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
        --data-binary '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}' \
        "https://${signed%%/*}/v2/${signed#*/}/manifests/${digest/:/-}"
}

# hang FROM TO: what points at the one image points at the other as well, as who may push can do
hang() {
    local from to list=application/vnd.oci.image.index.v1+json
    from=$(cut -d' ' -f1 <<< "$(manifest "$signed:$1")")
    to=$(cut -d' ' -f1 <<< "$(manifest "$signed:$2")")
    curl -sf --cacert "$RIG/pki/ca.crt" -H "Accept: $list" "https://${signed%%/*}/v2/${signed#*/}/manifests/${from/:/-}" > "$SHUNIT_TMPDIR/hung" \
        && grep -q '"manifests":\[{' "$SHUNIT_TMPDIR/hung" \
        && curl -sf --cacert "$RIG/pki/ca.crt" -X PUT -H "Content-Type: $list" --data-binary @"$SHUNIT_TMPDIR/hung" \
            "https://${signed%%/*}/v2/${signed#*/}/manifests/${to/:/-}"
}

# refused_for CODE COMMAND...: by the gate, for this
refused_for() {
    local code=$1
    shift
    [[ $("$@" 2>&1) = *": $code: "* ]]
}

# What is left out is said.
if [[ -n ${RIG_COSIGN:-} ]]; then
    further_tests+=(test_images_signed_by_identity_run_and_others_do_not)
else
    echo "NOT TRIED: signatures of cosign, by key and by identity (RIG_COSIGN is not set: RIG_ENGINE=forky has it)" >&2
fi
test_images_signed_by_identity_run_and_others_do_not() {
    local before container stripped name ends status=0
    mkdir -p "$policy_folder"
    sigstore sigstore 8090
    assertTrue "the stand-in is there" $?
    sigstore another 8091
    assertTrue "and another" $?
    before_the_gate publish_for_identities
    cosign_signs_as sigstore $issuer $ci ci
    cosign_signs_as sigstore $issuer $ci stripped
    # The signers' certificates live 20 s (test/rig/sigstore.py): what is judged below is over by then, and its timestamp shows that it was not.
    ends=$((SECONDS + 22))
    cosign_signs_as sigstore $issuer ${ci/acme/acme-evil} subject
    cosign_signs_as sigstore $issuer.evil.test $ci issuer
    cosign_signs_as another $issuer $ci root
    # Each is the same in all but one: whose certificate it is, that a log has seen it, when it was.
    for name in fulcio ct stamps; do cosign_signs_as "sigstore/$name" $issuer $ci $name; done
    hang ci hung > /dev/null
    assertTrue "the good bundle hangs on another image" $?
    # What is proven is proven offline.
    "$RIG_TOOLS/service.sh" stop sigstore
    "$RIG_TOOLS/service.sh" stop another
    cp "$SHUNIT_TMPDIR/sigstore/trusted_root.json" "$policy_folder"/
    gate_says trust root check "$policy_folder"/trusted_root.json > "$SHUNIT_TMPDIR/root" || status=$?
    assertEquals "the root is good: $(< "$SHUNIT_TMPDIR/root")" 0 "$status"
    by_identity four 'https://ci.rig.test/acme/app/*@refs/tags/*'
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA= POSTURE= ALLOW_HOST_ACCESS=
    cosign_decides four

    while ((SECONDS < ends)); do sleep 1; done
    before=$(audit_lines)
    pulled $signed:ci
    prints "signed: ci" run $signed:ci
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["ci"]' "\"signers\":[\"$ci (issuer $issuer)\"]"
    assertTrue "the identity is on record" $?
    pulled $signed:stripped
    stripped=$(docker create --network none $signed:stripped)
    refused "$signer_missing" docker pull $signed:subject
    refused "$signer_missing" run $signed:issuer
    refused "$not_signed" docker pull $signed:root
    for name in hung fulcio ct stamps; do refused "$not_signed" docker pull "$signed:$name"; done
    refused "$not_signed" docker pull $signed:nobody
    # A tag is moved to what another has signed; a signature is taken away.
    move_tag subject nobody
    refused "$signer_missing" docker pull $signed:nobody
    strip stripped > /dev/null
    refused "$not_signed" docker pull $signed:stripped
    refused "$not_signed" docker start "$stripped"
    docker rm -f "$stripped" > /dev/null

    # The registry is taken away, and the gate begins anew.
    container=$(docker create --network none $signed:ci)
    "$RIG_TOOLS/service.sh" stop registry
    reconfigure LOG=info
    cosign_decides four
    prints "signed: ci" run $signed:ci
    assertTrue "what was proven starts" "docker start $container"
    refused "$trust_unreachable" docker pull $signed:ci
    # An identity that counts no more ends what rests on it.
    by_identity five 'https://ci.rig.test/acme/web/*'
    cosign_decides five
    refused "$trust_unreachable" run $signed:ci
    docker rm -f "$container" > /dev/null
    "$RIG_TOOLS/service.sh" start registry docker-registry serve "$RIG/registry.yml"
    wait_until 40 refused_for "$signer_missing" docker pull $signed:ci
    assertTrue "once it is back, who signed does not count" $?
    docker images --format '{{.Repository}}:{{.Tag}}' "$signed" | xargs -r docker rmi -f > /dev/null
    rm -f "$policy_folder"/policy.toml "$policy_folder"/trusted_root.json
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

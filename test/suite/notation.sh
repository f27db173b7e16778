# shellcheck shell=bash disable=SC2034,SC2154  # words of tests.sh, and one that move_tag reads
# Images signed by the real notation, where the rig has it (RIG_NOTATION), in both its envelopes. Sourced by tests.sh, whose words it uses.

notated=registry.test:5000/notated

# notation ...: as who signs
notation() {
    (cd "$SHUNIT_TMPDIR" && HOME=$SHUNIT_TMPDIR XDG_CONFIG_HOME=$SHUNIT_TMPDIR SSL_CERT_FILE=$RIG/pki/ca.crt "$RIG_NOTATION" "$@")
}

# notation_signs KEY FORMAT DIGEST
notation_signs() {
    local output
    output=$(notation sign --key "$1" --signature-format "$2" "$notated@$3" 2>&1)
    assertTrue "notation has signed $3: $output" $?
}

# signer NAME: a CA and a key that it certifies, known to notation by that name
signer() {
    local at=$SHUNIT_TMPDIR/$1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$at-ca.key" -out "$at-ca.crt" \
        -subj "/C=US/ST=WA/O=$1/CN=ca" -addext keyUsage=critical,keyCertSign,cRLSign 2> /dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$at.key" -out "$at.csr" -subj "/C=US/ST=WA/O=$1/CN=signer" 2> /dev/null
    openssl x509 -req -in "$at.csr" -CA "$at-ca.crt" -CAkey "$at-ca.key" -CAcreateserial -days 30 -out "$at.crt" \
        -extfile <(printf '%s\n' keyUsage=critical,digitalSignature basicConstraints=critical,CA:FALSE) 2> /dev/null
    cat "$at-ca.crt" >> "$at.crt"
}

# by_notation EDITION ORGANIZATION: the policy that asks for signatures by this one
by_notation() {
    local store=$policy_folder/truststore/x509/ca/acme
    mkdir -p "$store"
    cp "$SHUNIT_TMPDIR/$2-ca.crt" "$store/ca.crt"
    cat > "$policy_folder/trustpolicy.json" << END
{"version": "1.0", "trustPolicies": [{"name": "acme", "registryScopes": ["$notated"], "signatureVerification": {"level": "strict"},
  "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=$2"]}]}
END
    policy << END
# edition $1
version = 1

[verifiers.corp]
type = "notation"
trust_policy = "trustpolicy.json"
trust_store = "truststore"

[[scope]]
match = "$notated"
require = "corp"
END
}

[[ -z ${RIG_NOTATION:-} ]] || further_tests+=(test_images_signed_by_notation_run_and_others_do_not)
test_images_signed_by_notation_run_and_others_do_not() {
    local jws cose others before container output dn="CN=signer,O=acme,ST=WA,C=US" signed=$notated
    mkdir -p "$policy_folder" "$SHUNIT_TMPDIR/notation"
    signer acme
    signer stranger
    jq -n --arg at "$SHUNIT_TMPDIR" '{keys: [("acme", "stranger") | {name: ., keyPath: "\($at)/\(.).key", certPath: "\($at)/\(.).crt"}]}' \
        > "$SHUNIT_TMPDIR/notation/signingkeys.json"
    before_the_gate publish_for_notation
    jws=$(cut -d' ' -f1 <<< "$(manifest $notated:jws)")
    cose=$(cut -d' ' -f1 <<< "$(manifest $notated:cose)")
    others=$(cut -d' ' -f1 <<< "$(manifest $notated:others)")
    notation_signs acme jws "$jws"
    notation_signs acme cose "$cose"
    notation_signs stranger cose "$others"
    # Beside the variables it is not in force yet.
    by_notation one acme
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA= POSTURE= ALLOW_HOST_ACCESS=
    cosign_decides one

    before=$(audit_lines)
    pulled $notated:jws
    prints "by jws" run $notated:jws
    pulled $notated:cose
    prints "by cose" run $notated:cose
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["corp"]' "\"signers\":[\"$dn\"]"
    assertTrue "the signer is on record" $?
    refused "$not_signed" docker pull $notated:unsigned
    refused "$not_signed" run $notated:unsigned
    refused "$signer_missing" docker pull $notated:others
    output=$(gate_says trust verify $notated:cose --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json)
    assertEquals "the command says who signed" \
        "{\"digest\":\"$cose\",\"verifiers\":[{\"name\":\"corp\",\"type\":\"notation\",\"signers\":[\"$dn\"]}]}" "$output"

    notation_is_shown_and_learnt "$cose"

    # Unsigned content under a signed name, on the host; a tag that is moved in the registry.
    make_image $notated:local evil > /dev/null
    docker tag $notated:local $notated:cose
    refused "$not_signed" run $notated:cose
    container=$(docker create --network none $notated:jws)
    move_tag unsigned jws
    refused "$not_signed" docker pull $notated:jws
    assertTrue "what is here is still what was signed" "docker start $container"
    docker rm -f "$container" > /dev/null
    # The list of its signatures is taken away: it is not signed for whoever asks.
    pulled "$notated@$cose"
    stripped "$cose"
    refused "$not_signed" docker pull "$notated@$cose"

    # The stranger's CA takes the place of the other.
    by_notation two stranger
    cosign_decides two
    pulled $notated:others
    prints "by others" run $notated:others
    output=$(gate_says trust export --signatures $notated:others --file "$SHUNIT_TMPDIR/others.bundle")
    assertEquals "its signatures are exported: $output" 0 $?
    # The registry is taken away, and the gate begins anew: what was verified starts.
    container=$(docker create --network none $notated:others)
    "$RIG_TOOLS/service.sh" stop registry
    reconfigure LOG=info
    cosign_decides two
    assertTrue "what was verified starts" "docker start $container"
    prints "by others" run $notated:others
    refused "$trust_unreachable" docker pull $notated:others
    # What is forgotten comes back by a bundle, and is judged; one that was edited brings nothing.
    gate_says trust forget "$others" > /dev/null
    wait_until 10 starts_no_more "$container"
    assertTrue "what is forgotten does not start" $?
    sed "s/$others/$cose/g" "$SHUNIT_TMPDIR/others.bundle" > "$SHUNIT_TMPDIR/edited.bundle"
    output=$(gate_says trust import "$SHUNIT_TMPDIR/edited.bundle" --all)
    assertEquals "an edited bundle is refused: $output" 2 $?
    output=$(gate_says trust import "$SHUNIT_TMPDIR/others.bundle" "$notated@$others")
    assertEquals "the bundle is taken in: $output" 0 $?
    wait_until 10 docker start "$container" > /dev/null 2>&1
    assertTrue "what was carried here starts" $?
    "$RIG_TOOLS/service.sh" start registry docker-registry serve "$RIG/registry.yml"
    wait_until 20 docker pull -q $notated:others > /dev/null 2>&1
    assertTrue "once it is back, the pull is allowed" $?
    docker rm -f "$container" > /dev/null
    docker images --format '{{.ID}}' "$notated" | sort -u | xargs -r docker rmi -f > /dev/null
    rm -rf "$policy_folder"/policy.toml "$policy_folder"/trustpolicy.json "$policy_folder"/truststore
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

# notation_is_shown_and_learnt DIGEST: the commands show its signature, and print a policy that accepts it
notation_is_shown_and_learnt() {
    local output learnt=$SHUNIT_TMPDIR/learnt name status
    # Without what it notes beside: that Docker's Notary is asked where no other is set.
    output=$(PLUGIN=$PLUGIN "$policy_program" trust inspect $notated:cose --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" \
        --json 2> /dev/null)
    assertEquals "its signature is shown and judged: $output" "notation COSE $1 yes" \
        "$(jq -r '.signatures[] | "\(.kind) \(.form) \(.of) \(if .verdicts[0].counts then "yes" else "no" end)"' <<< "$output")"
    mkdir -p "$learnt"
    gate_says trust pin $notated:cose --json > "$learnt/pin.json"
    status=$?
    assertEquals "its signer is learnt: $(< "$learnt/pin.json")" 0 $status
    while read -r name; do
        mkdir -p "$(dirname "$learnt/$name")"
        jq -r --arg name "$name" '.files[$name]' "$learnt/pin.json" > "$learnt/$name"
    done < <(jq -r '.files | keys[]' "$learnt/pin.json")
    { echo 'version = 1'; jq -r .policy "$learnt/pin.json"; } > "$learnt/policy.toml"
    output=$(gate_says policy check "$learnt/policy.toml")
    assertEquals "what is printed is a policy: $output" 0 $?
    output=$(gate_says trust verify $notated:cose --policy "$learnt/policy.toml" --state "$SHUNIT_TMPDIR/state")
    assertEquals "that accepts the image: $output" 0 $?
    output=$(gate_says trust verify $notated:others --policy "$learnt/policy.toml" --state "$SHUNIT_TMPDIR/state")
    assertEquals "and no other: $output" 2 $?
}

# stripped DIGEST: an empty list stands where that of its signatures was (the registry keeps none itself)
stripped() {
    local index='{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    curl -sf --cacert "$RIG/pki/ca.crt" -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data "$index" \
        "https://${notated%%/*}/v2/${notated#*/}/manifests/${1/:/-}"
    assertTrue "the list is replaced" $?
}

publish_for_notation() {
    local name
    for name in jws cose others unsigned; do
        publish $notated:$name "by $name" > /dev/null
        docker rmi -f $notated:$name > /dev/null
    done
}

# shellcheck shell=bash disable=SC2154
# Signatures in a registry that keeps the list of what points at an image itself (OCI 1.1), where the rig has one (RIG_REGISTRY): the real
# cosign and notation put them there, and no tag beside the image. Sourced by tests.sh, whose words it uses, after cosign.sh and notation.sh.

lister=registry.test:5002

# at_lister PATH [CURL-ARGUMENT...]
at_lister() {
    local path=$1
    shift
    curl -sf --cacert "$RIG/pki/ca.crt" "https://$lister/v2/$path" "$@"
}

publish_for_lister() {
    local image
    for image in "$signed":{bundle,unsigned} "$notated:jws"; do
        publish "$image" "signed: $image" > /dev/null
        docker rmi -f "$image" > /dev/null
    done
}

# points_at IMAGE: the digests of what the registry's list has for it
points_at() {
    local repository=${1%:*} digest
    digest=$(cut -d' ' -f1 <<< "$(manifest "$1")")
    at_lister "${repository#*/}/referrers/$digest" | jq -r '.manifests[].digest'
}

# verifies STATUS IMAGE
verifies() {
    local output status=0
    output=$(gate_says trust verify "$2" --policy "$policy_folder"/policy.toml --state "$SHUNIT_TMPDIR/state" --json) || status=$?
    assertEquals "trust verify of $2: $output" "$1" $status
}

[[ -z ${RIG_REGISTRY:-} || -z ${RIG_COSIGN:-} || -z ${RIG_NOTATION:-} ]] || further_tests+=(test_signatures_that_the_registry_itself_lists)
test_signatures_that_the_registry_itself_lists() {
    local signed=$lister/signed notated=$lister/notated image digest before
    mkdir -p "$policy_folder" "$SHUNIT_TMPDIR/notation"
    "$RIG_TOOLS/services.sh" registry lister registry.test 5002 "$RIG_REGISTRY"
    cosign generate-key-pair --output-key-prefix release > /dev/null 2>&1
    signer acme
    jq -n --arg at "$SHUNIT_TMPDIR/acme" '{keys: [{name: "acme", keyPath: "\($at).key", certPath: "\($at).crt"}]}' \
        > "$SHUNIT_TMPDIR/notation/signingkeys.json"
    before_the_gate publish_for_lister
    cosign_signs release "$(cut -d' ' -f1 <<< "$(manifest "$signed:bundle")")" --new-bundle-format
    digest=$(cut -d' ' -f1 <<< "$(manifest "$notated:jws")")
    notation_signs acme jws "$digest"
    # It writes the tag as well, though the registry has a list.
    at_lister "notated/manifests/${digest/:/-}" -X DELETE
    for image in "$signed:bundle" "$notated:jws"; do assertEquals "what points at $image" 1 "$(points_at "$image" | wc -l)"; done
    assertEquals "no tag is beside them" '["bundle","unsigned"]["jws"]' \
        "$({ at_lister signed/tags/list; at_lister notated/tags/list; } | jq -c .tags | tr -d '\n')"

    by_notation six acme
    cp "$SHUNIT_TMPDIR/release.pub" "$policy_folder"/
    cat "$policy_folder"/policy.toml - << END > "$SHUNIT_TMPDIR/policy.toml"

[verifiers.release]
type = "cosign"
keys = ["release.pub"]

[[scope]]
match = "$signed"
require = "release"
END
    policy < "$SHUNIT_TMPDIR/policy.toml"
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA= POSTURE= ALLOW_HOST_ACCESS=
    cosign_decides six
    before=$(audit_lines)
    for image in "$signed:bundle" "$notated:jws"; do
        verifies 0 "$image"
        pulled "$image"
        prints "signed: $image" run "$image"
    done
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["release"]' '"signers":["release.pub"]'
    assertTrue "the key is on record" $?
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["corp"]' '"signers":["CN=signer,O=acme,ST=WA,C=US"]'
    assertTrue "and the certificate" $?
    verifies 2 "$signed:unsigned"
    refused "$not_signed" docker pull "$signed:unsigned"
    refused "$not_signed" run "$signed:unsigned"
    # A signature that is taken out of the registry is out of its list.
    for image in "$signed:bundle" "$notated:jws"; do
        at_lister "$(cut -d/ -f2 <<< "${image%:*}")/manifests/$(points_at "$image")" -X DELETE
        assertTrue "the signature of $image is gone" $?
        verifies 2 "$image"
        refused "$not_signed" docker pull "$image"
        refused "$not_signed" run "$image"
    done
    "$RIG_TOOLS/service.sh" stop lister
    for image in "$signed" "$notated"; do docker images --format '{{.ID}}' "$image"; done | sort -u | xargs -r docker rmi -f > /dev/null
    rm -rf "$policy_folder"/{policy.toml,release.pub,trustpolicy.json,truststore}
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

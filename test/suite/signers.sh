# shellcheck shell=bash disable=SC2154,SC2016
# Signers that must agree, and trust data by bundle, on a real engine. Sourced by tests.sh, whose words it uses.

signer_missing='signer-missing'
trust_not_imported='trust-not-imported'

# as NAME COMMAND...: by another person, with docker's keys and trust data of her own
as() {
    local config=$SHUNIT_TMPDIR/$1
    shift
    mkdir -p "$config"
    cp -r "$HOME/.docker/tls" "$config/"
    DOCKER_CONFIG=$config "$@" > "$SHUNIT_TMPDIR/as.log" 2>&1
    status=$?
    assertTrue "${config##*/}: $*: $(< "$SHUNIT_TMPDIR/as.log")" $status
}

gate_tests+=(test_required_signers_must_have_signed)
test_required_signers_must_have_signed() {
    local image=registry.test:5000/duo:1.0 digest container before name
    digest=$(publish $image "signed by two")
    for name in dev qa; do
        (cd "$SHUNIT_TMPDIR" && as $name docker trust key generate $name)
        as owner docker trust signer add --key "$SHUNIT_TMPDIR/$name.pub" $name ${image%:*}
    done
    # What `docker trust sign` does where an engine with the classic store is at hand.
    as dev notary -c "$RIG/notary.json" -d "$SHUNIT_TMPDIR/dev/trust" addhash -p ${image%:*} ${image##*:} 1 \
        --sha256 "${digest#sha256:}" --roles targets/releases --roles targets/dev
    reconfigure FRESHNESS=0 NOTARY_SIGNERS="${image%:*}=dev,qa; registry.test:5000/tool=qa"
    refused $signer_missing docker pull $image
    assertContains "who lacks" "$denial" 'required signer `qa` has not signed tag `1.0`'
    refused $signer_missing run $image
    # Nobody is a signer of it: it was signed into `targets`.
    refused $signer_missing docker pull registry.test:5000/tool:1.0
    as qa docker trust sign $image
    before=$(audit_lines)
    pulled $image
    recorded "$before" '"event":"ALLOWED"' '"signers":["dev","qa"]'
    assertTrue "both signers are on record" $?
    prints "signed by two" run $image
    # Whom no rule is about needs no one.
    pulled registry.test:5000/app:1.0
    container=$(docker create --network none $image)
    reconfigure NOTARY_SIGNERS='*=dev,carol'
    refused $signer_missing docker start "$container"
    assertContains "who lacks" "$denial" 'required signer `carol` is not a signer of'
    reconfigure NOTARY_SIGNERS="registry.test:5000/*=dev"
    assertTrue "one who has signed is enough where one is asked for" "docker start $container"
    docker rm -f "$container" > /dev/null
    as qa docker trust revoke --yes $image
    reconfigure NOTARY_SIGNERS="${image%:*}=qa"
    refused "$not_signed" run $image
    reconfigure NOTARY_SIGNERS= FRESHNESS=
    docker_signed
}

gate_tests+=(test_trust_data_by_bundle)
test_trust_data_by_bundle() {
    local gate=$RIG_TOOLS/../../plugin/rootfs/img-authz bundle=$SHUNIT_TMPDIR/app.bundle status=0
    PLUGIN=$PLUGIN "$gate" trust export registry.test:5000/app --file "$bundle" > "$SHUNIT_TMPDIR/export" 2>&1
    status=$?
    assertTrue "export: $(< "$SHUNIT_TMPDIR/export")" $status
    # A host that never had a way to Notary: the plugin is new, and so is its state.
    uninstall
    "$RIG_TOOLS/install.sh" NOTARY=import NOTARY_ROOT_CA= FRESHNESS=0 > /dev/null
    unplug_notary
    refused $trust_not_imported docker pull registry.test:5000/app:1.0
    PLUGIN=$PLUGIN "$gate" trust import "$bundle" > "$SHUNIT_TMPDIR/import" 2>&1
    status=$?
    assertTrue "import: $(< "$SHUNIT_TMPDIR/import")" $status
    docker_signed
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    refused "$not_signed" docker pull registry.test:5000/app:unsigned
    refused $trust_not_imported docker pull registry.test:5000/tool:1.0
    engine restart
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    sed 's/targets/targetz/' "$bundle" > "$bundle.edited"
    PLUGIN=$PLUGIN "$gate" trust import "$bundle.edited" > "$SHUNIT_TMPDIR/import" 2>&1 || status=$?
    assertEquals "an edited bundle: $(< "$SHUNIT_TMPDIR/import")" 2 "$status"
    plug_notary
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

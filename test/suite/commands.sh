# shellcheck shell=bash disable=SC2154,SC2016
# What the commands say on a real host, as a new administrator meets them: a gate of another name, an engine that is down, a gate that
# hangs, faulty settings, an allowlist that is gone, an outage, an upgrade from source. Sourced by tests.sh, whose words it uses.

# ours COMMAND...: img-authz on the host, where the engine runs, with a person's environment. Leaves what it said in `said`, its
# exit code in `ended`
ours() {
    local command=("$RIG_TOOLS/../../plugin/rootfs/img-authz" "$@")
    [[ -z ${RIG_TREE:-} ]] || command=("$RIG_TOOLS/tree.sh" beside "${command[@]}")
    ended=0
    said=$(env -u DOCKER_CONFIG ${as:+"${as[@]}"} "${command[@]}" 2>&1) || ended=$?
}

# ends CODE WORDS COMMAND...: img-authz ends so, and says these words
ends() {
    local code=$1 words=$2
    shift 2
    ours "$@"
    assertEquals "exit code of img-authz $*: $said" "$code" "$ended"
    assertContains "img-authz $*" "$said" "$words"
}

further_tests+=(test_gate_of_another_name)
test_gate_of_another_name() {
    local first=$PLUGIN repo
    repo=$(cd "$RIG_TOOLS/../.." && pwd)
    uninstall
    make -s -C "$repo" create settings enable PLUGIN_NAME=gate PLUGIN_TAG=3 REGISTRY=registry.test:5000 LOG=debug \
        NOTARY=https://notary.test:4443 NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")" > /dev/null
    PLUGIN=gate:3
    assertContains "LOG is handed over" "$(docker plugin inspect -f '{{.Settings.Env}}' $PLUGIN)" "LOG=debug"
    # Not listed: the advice is to name this one, and no other.
    doctor
    found critical daemon-json-gate-missing not-in-chain
    found ok plugin
    ours doctor
    assertContains "the exact name" "$said" '"authorization-plugins": ["gate:3"]'
    assertNotContains "no plugin that is not there" "$said" '["img-authz"]'
    engine gate gate:3
    doctor
    found ok in-chain daemon-json plugin
    not_found critical
    ends 0 'in force in `gate:3`' check registry.test:5000/app:1.0 --action pull
    ends 0 '`gate:3` answers' settings
    # A name that would end dockerd at the next reload.
    cp /etc/docker/daemon.json "$SHUNIT_TMPDIR/daemon.json"
    sed 's/gate:3/img-authz/' "$SHUNIT_TMPDIR/daemon.json" > /etc/docker/daemon.json
    doctor
    found critical daemon-json-plugin
    not_found 'critical daemon-json-gate-missing'
    cp "$SHUNIT_TMPDIR/daemon.json" /etc/docker/daemon.json

    # Disabled while daemon.json names it, and then the engine ends: the cause is told, nothing is made up.
    docker plugin disable "$PLUGIN" > /dev/null
    ends 2 'is disabled' settings
    if host_outlives_the_engine; then
        engine stop
        sed "s|{|{\"data-root\": \"$RIG_DATA\", |" "$SHUNIT_TMPDIR/daemon.json" > /etc/docker/daemon.json
        doctor
        found critical plugin-disabled engine-unreachable
        not_found 'warning docker-notary-closes' 'warning state-folder' 'warning settings-unknown' 'warning audit-log'
        ours doctor
        assertContains "how to get it back" "$said" "docker plugin enable gate:3"
        ends 1 'could not tell' check registry.test:5000/app:1.0
        ends 0 'PROBE' log -n 50
        # Not root: neither the engine nor its files can be asked.
        as=(/usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups)
        ends 1 "the gate's settings are not known" check registry.test:5000/app:1.0
        assertNotContains "nothing is refused" "$said" DENY
        ends 1 "the gate's settings are not known" settings
        ends 1 "the gate's state folder is not known" log
        as=()
        cp "$SHUNIT_TMPDIR/daemon.json" /etc/docker/daemon.json
        config_without_gate
        engine start
    else
        echo '    an engine that has ended: not here, the host ends with it'
        config_without_gate
        engine stop
        engine start
    fi
    docker plugin enable $PLUGIN > /dev/null
    engine gate $PLUGIN

    # What a root shell has set for docker is not the gate's.
    mkdir -p "$SHUNIT_TMPDIR/own"
    echo 'no JSON' > "$SHUNIT_TMPDIR/own/config.json"
    as=(DOCKER_CONFIG="$SHUNIT_TMPDIR/own")
    ends 0 'ALLOW: approved by notary' check registry.test:5000/app:1.0 --action pull
    as=()
    uninstall
    PLUGIN=$first
    "$RIG_TOOLS/install.sh" > /dev/null
}

# daemon.json names no plugin; for an engine that is down
config_without_gate() { sed -i 's/"authorization-plugins": \[[^]]*\],\{0,1\} *//' /etc/docker/daemon.json; }

further_tests+=(test_commands_beside_a_gate_that_hangs)
test_commands_beside_a_gate_that_hangs() {
    local pid
    in_posture_images
    pid=$(plugin_pid)
    kill -STOP "$pid"
    ends 1 'does not answer' check registry.test:5000/app:1.0
    ends 2 'does not answer' settings
    doctor
    found critical gate-not-answering
    not_found 'warning settings-unknown' 'warning docker-notary-closes'
    kill -CONT "$pid"
    wait_until 60 docker ps > /dev/null 2>&1
    assertTrue "the gate is back" $?
    ends 0 'ALLOW' check registry.test:5000/app:1.0 --action pull
}

further_tests+=(test_commands_judge_by_what_is_in_force)
test_commands_judge_by_what_is_in_force() {
    local list=/etc/docker/img-authz/allowlist.json
    in_posture_images
    docker_signed
    # Judged before anything is disabled.
    ends 2 'MODE: `x` is neither' settings check MODE=x
    ends 2 'is not a setting' settings check REGISTYR=registry.test:5000
    ends 0 'good' settings check MODE=permissive
    reconfigure MODE=x
    ends 2 'MODE: `x` is neither' settings
    assertContains "and says so" "$said" "the last good ones are"
    ends 0 'the last good ones are' check registry.test:5000/app:1.0
    doctor
    found warning settings-fault
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    reconfigure MODE=
    ends 0 'in force' settings

    # An allowlist, then a broken, an emptied and a removed one: what the gate does is what is told.
    ends 0 added register --from-registry --yes registry.test:5000/app:1.0
    wait_until 10 refused_as not-in-allowlist docker pull registry.test:5000/tool:1.0
    ends 2 not-in-allowlist check registry.test:5000/tool:1.0 --action pull
    cp $list "$SHUNIT_TMPDIR/list"
    sleep 2
    echo '{' > $list
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    ends 0 ALLOW check registry.test:5000/app:1.0
    doctor
    found warning allowlist-unusable
    rm $list
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    ends 0 ALLOW check registry.test:5000/app:1.0
    ends 2 not-in-allowlist check registry.test:5000/tool:1.0 --action pull
    echo '{"version": 1, "entries": []}' > $list
    refused not-in-allowlist docker pull registry.test:5000/app:1.0
    ends 2 not-in-allowlist check registry.test:5000/app:1.0 --action pull
    doctor
    found critical allowlist-empty
    rm $list
    reconfigure MODE=
    ends 0 ALLOW check registry.test:5000/app:1.0 --action pull

    # Registered, and refused all the same.
    ends 0 'would be refused still: no-trust-data' register --from-registry --yes registry.test:5000/plain:1.0
    rm $list
    reconfigure MODE=
}

further_tests+=(test_a_list_for_review_is_signed_elsewhere_and_no_older_one_counts_again)
test_a_list_for_review_is_signed_elsewhere_and_no_older_one_counts_again() {
    local list=/etc/docker/img-authz/allowlist.json work=$SHUNIT_TMPDIR/signed key before
    in_posture_images
    docker_signed
    mkdir -p "$work"
    openssl genpkey -algorithm ed25519 -out "$work/list.key"
    chmod 600 "$work/list.key"
    # What was used while nothing was refused; an image that only bears a name is marked.
    reconfigure MODE=permissive
    make_image evil:1.0 evil > /dev/null
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    run evil:1.0 > /dev/null 2>&1
    ends 0 'only bear their name' allowlist propose --since 10m --out "$work/next.json"
    assertContains "the list for review marks it" "$(grep -A9 evil "$work/next.json")" 'ONLY BEARS THIS NAME'
    [[ ! -e $list ]]
    assertTrue "nothing is approved by it" $?
    # Reviewed: the one that only bears a name goes.
    ends 0 'removed from 1 entry' unregister evil:1.0 --file "$work/next.json"
    ends 0 'signed by key' allowlist sign --key "$work/list.key" --serial 1 --out "$work/first.json" "$work/next.json"
    key=$(sed -n 's/^ALLOWLIST_KEY=//p' <<< "$said")
    install -D -m 644 "$work/first.json" $list
    reconfigure MODE= ALLOWLIST_KEY="$key"
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    refused not-in-allowlist docker pull registry.test:5000/tool:1.0
    # A newer one takes the approval back; the older one, byte for byte, does not bring it back, and neither does a restart.
    ends 0 'removed from 1 entry' unregister registry.test:5000/app:1.0 --out "$work/second.json"
    ends 0 'serial 2' allowlist sign --key "$work/list.key" "$work/second.json"
    install -D -m 644 "$work/second.json" $list
    refused not-in-allowlist run registry.test:5000/app:1.0
    before=$(audit_lines)
    install -D -m 644 "$work/first.json" $list
    refused not-in-allowlist run registry.test:5000/app:1.0
    wait_until 5 recorded "$before" '"event":"GATE"' 'its serial is 1, and a list with serial 2'
    assertTrue "that somebody tried is on record" $?
    reconfigure MODE=
    refused not-in-allowlist run registry.test:5000/app:1.0
    doctor
    found warning allowlist-refused
    ends 1 '--out FILE' register --yes --from-registry registry.test:5000/app:1.0
    rm $list
    docker rmi -f evil:1.0 > /dev/null
    reconfigure MODE= ALLOWLIST_KEY=
    ends 0 ALLOW check registry.test:5000/app:1.0 --action pull
}

# refused_as CODE COMMAND...: for waiting
refused_as() {
    local code=$1
    shift
    "$@" 2>&1 | grep -q "$code"
}

further_tests+=(test_an_outage_is_told_everywhere)
test_an_outage_is_told_everywhere() {
    local before
    in_posture_images
    reconfigure FRESHNESS=0
    docker_signed
    ends 0 good trust status
    unplug_notary
    before=$(audit_lines)
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    recorded "$before" '"action":"start"' '"stale_since":"' '"stale_until":"'
    assertTrue "the start on old data is on record as one" $?
    ends 0 'Notary is out of reach: its trust data was last checked at' log
    # The gate says it within a second.
    wait_until 5 grep -q '"notary_out_since": "' "$(dirname "$(audit_log)")/in-force.json"
    ends 2 'the Notary server is out of reach' trust status
    ends 0 'out of reach for the gate since' check registry.test:5000/app:1.0
    doctor
    found warning notary-unreachable
    assertContains "since when" "$findings" "cannot reach it since"
    reconfigure ON_OUTAGE=deny
    ends 2 "$trust_unreachable" check registry.test:5000/app:1.0
    doctor
    found critical notary-unreachable
    plug_notary
    reconfigure ON_OUTAGE= FRESHNESS=
    doctor
    not_found critical warning
}

further_tests+=(test_upgrade_from_source_keeps_state_and_settings)
test_upgrade_from_source_keeps_state_and_settings() {
    local repo before first
    repo=$(cd "$RIG_TOOLS/../.." && pwd)
    in_posture_images
    reconfigure FRESHNESS=7
    docker_signed
    before=$(audit_lines)
    first=$(head -n 1 "$(audit_log)")
    assertTrue "there is something to keep" "((before > 0))"
    # Enabled or not: make create does not touch what is there.
    output=$(make -s -C "$repo" create 2>&1)
    assertNotEquals "make create refuses: $output" 0 $?
    assertContains "$output" "make upgrade"
    output=$(make -s -C "$repo" upgrade 2>&1)
    assertNotEquals "nor is an enabled plugin upgraded: $output" 0 $?
    engine gate none
    docker plugin disable "$PLUGIN" > /dev/null
    output=$(make -s -C "$repo" create 2>&1)
    assertNotEquals "make create refuses: $output" 0 $?
    assertEquals "nothing was lost" "$before" "$(($(audit_lines) < before ? 0 : before))"
    output=$(make -s -C "$repo" upgrade 2>&1)
    assertEquals "make upgrade: $output" 0 $?
    docker plugin enable "$PLUGIN" > /dev/null
    engine gate "$PLUGIN"
    assertEquals "the audit log goes on" "$first" "$(head -n 1 "$(audit_log)")"
    assertTrue "nothing of it is missing" "(($(audit_lines) >= before))"
    assertContains "settings" "$(docker plugin inspect -f '{{.Settings.Env}}' "$PLUGIN")" "FRESHNESS=7"
    assertContains "also of many lines" "$(docker plugin inspect -f '{{.Settings.Env}}' "$PLUGIN")" "END CERTIFICATE"
    assertEquals "no copy is left" "" "$(find "$RIG_DATA" -maxdepth 1 -name 'img-authz-upgrade.*')"
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    reconfigure FRESHNESS=
}

further_tests+=(test_make_takes_no_misspelt_setting)
test_make_takes_no_misspelt_setting() {
    local repo
    repo=$(cd "$RIG_TOOLS/../.." && pwd)
    output=$(env -u MAKELEVEL make -s -C "$repo" settings REGISTYR=registry.test:5000 2>&1)
    assertNotEquals "a misspelt name is refused: $output" 0 $?
    assertContains "$output" REGISTYR
}

# heads: the heads of the three logs, as `log verify` says them
heads() { ours log verify && sed -n 's/^  head:  //p' <<< "$said"; }

further_tests+=(test_the_audit_log_is_chained)
test_the_audit_log_is_chained() {
    local log copy list=/etc/docker/img-authz/allowlist.json head pid before
    in_posture_images
    docker_signed
    log=$(audit_log)
    copy=$SHUNIT_TMPDIR/log
    refused "$registry_not_allowed" docker pull elsewhere.test/app:1.0
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    ends 0 'audit.jsonl: good' log verify
    assertContains "what this does not find" "$said" 'shows only against a head'
    head=$(heads | head -n 1)
    assertEquals "a head: $head" 64 "${#head}"

    # A command writes into the same chain, beside the gate that runs.
    ends 0 added register --from-registry --yes registry.test:5000/app:1.0
    rm -f $list
    reconfigure MODE=
    refused "$registry_not_allowed" docker pull elsewhere.test/app:1.0
    ends 0 "--head $head: is in audit.jsonl" log verify --head "$head"
    ends 0 '"event":"CHANGED"' log --json --event changed --since 10m
    ends 0 'registry-not-allowed' log --verdict deny --code registry-not-allowed --image elsewhere.test --user local
    assertNotContains "nothing else" "$said" 'ALLOWED'

    # Killed inside a line: the gate that the daemon starts again goes on behind it.
    pid=$(plugin_pid)
    kill -STOP "$pid"
    printf '{"timestamp":"2027-01-0' >> "$log"
    kill -KILL "$pid"
    wait_until 60 eval '(( $(plugin_pid) != '"$pid"' )) && docker ps' > /dev/null 2>&1
    assertTrue "the gate is back" $?
    wait_until 10 grep -q '"chain_over":"' "$log"
    assertTrue "its first entry covers the line" $?
    refusals_are_recorded
    ends 0 '1 line from audit.jsonl line' log verify --head "$head"

    # Rotated: what has no link until then stays in its file, and the next begins behind its last entry.
    yes "$(printf '%01000d' 0)" | head -n 17000 >> "$log"
    before=$(stat -c %i "$log")
    for _ in 1 2 3; do
        says "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    done
    assertEquals "the full file is the one before now" "$before" "$(stat -c %i "$log.1")"
    assertContains "$(head -n 1 "$log")" '"chain_from":"'
    ends 0 'first: audit.jsonl.1 line 1' log verify --head "$head"

    # What is done to a copy is found, but for an end that is cut off.
    mkdir "$copy"
    cp "$log" "$log.1" "$copy"
    ends 0 good log verify "$copy/audit.jsonl" "$copy/audit.jsonl.1"
    sed -i '1s/BLOCKED/ALLOWED/;s/"event":"ALLOWED"/"event":"BLOCKED"/' "$copy/audit.jsonl"
    ends 2 'NOT GOOD, from' log verify "$copy/audit.jsonl" "$copy/audit.jsonl.1"
    cp "$log" "$copy"
    sed -i 2d "$copy/audit.jsonl"
    ends 2 'audit.jsonl line 2' log verify "$copy/audit.jsonl" "$copy/audit.jsonl.1"
    cp "$log" "$copy"
    head=$(tail -n 1 "$copy/audit.jsonl" | tail -c 67 | head -c 64)
    sed -i '$d' "$copy/audit.jsonl"
    ends 0 good log verify "$copy/audit.jsonl" "$copy/audit.jsonl.1"
    ends 2 'is NOT among the good entries' log verify --head "$head" "$copy/audit.jsonl" "$copy/audit.jsonl.1"
    rm -f "$log.1"
}

further_tests+=(test_audit)
test_audit() {
    local config='"User": "app", "Env": ["DB_PASSWORD=hunter2"], "ExposedPorts": {"22/tcp": {}, "6379/tcp": {}}'
    in_posture_images
    IMAGE_CONFIG=$config make_image audited:latest "an image to be audited" > /dev/null
    ends 2 'exposes ports 22, 6379' audit audited:latest
    assertContains "the secret's place" "$said" 'ENV `DB_PASSWORD` looks like a secret'
    assertNotContains "the secret" "$said" hunter2
    assertNotContains "its user" "$said" user-root
    docker save audited:latest > "$SHUNIT_TMPDIR/audited.tar"
    docker rmi audited:latest > /dev/null
    ends 2 '"ruleId": "secrets"' audit "$SHUNIT_TMPDIR/audited.tar" --sarif --fail-on critical
    ends 1 'no such image' audit audited:latest
    rm "$SHUNIT_TMPDIR/audited.tar"
    docker run -d --name audited --network none --entrypoint /bin/sleep registry.test:5000/app:1.0 600 > /dev/null
    ends 2 'container audited' audit host
    assertContains "what it lacks" "$said" read-only-root
    assertNotContains "a gate is asked" "$said" no-authorization
    ends 2 '--cap-drop ALL' audit host --fix
    docker rm -f audited > /dev/null
}

# Into daemon.json and out of it, without a reload that would end the engine, and with every other letter of the file as it was.
further_tests+=(test_the_gate_is_enabled_and_disabled_by_its_commands)
test_the_gate_is_enabled_and_disabled_by_its_commands() {
    local before file=/etc/docker/daemon.json
    before=$(< $file)
    ends 0 "dockerd asks $PLUGIN: $file is as it was" enable
    ends 0 'NOTHING IS CHECKED' disable
    doctor
    found critical not-in-chain daemon-json-gate-missing
    assertEquals "what it was lies beside it" "$before" "$(< $file.before-img-authz)"
    ends 0 "$file is as it was" disable
    # The plugin is there and disabled: its name would end the engine.
    docker plugin disable "$PLUGIN" > /dev/null
    ends 2 "docker plugin enable $PLUGIN" enable
    docker plugin enable "$PLUGIN" > /dev/null
    ends 0 "$file would be changed to" enable --dry-run
    doctor
    found critical not-in-chain
    ends 0 "dockerd asks $PLUGIN: $file is changed" enable
    ! at_least 23.0 "$engine_version" || assertNotContains "dockerd has looked at it" "$said" 'not validated'
    refused "$registry_not_allowed" docker pull "$UNAUTHZ_IMG"
    # A name that is nobody's, and a file that cannot be understood.
    printf '%s\n' "${before/'"img-authz:latest"'/'"img-authz:latest", "nobody"'}" > $file
    ends 2 'nobody' enable
    printf '%s,\n' "$before" > $file
    ends 2 "nothing was changed in $file" disable
    printf '%s\n' "$before" > $file
    rm -f $file.before-img-authz
    engine gate "$PLUGIN"
}

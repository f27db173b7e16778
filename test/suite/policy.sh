# shellcheck shell=bash disable=SC2154,SC2016,SC2317
# A policy file in force on a real engine. Sourced by tests.sh, whose words it uses.

signer_missing='signer-missing'
user_forbidden='user-forbidden'
rego_denied='rego-denied'
not_in_allowlist='not-in-allowlist'
not_in_registry='not-in-registry'
image_config_unknown='image-config-unknown'
image_rule='image-rule'
create_rule='create-rule'
policy_folder=/etc/docker/img-authz
policy_program=$RIG_TOOLS/../../plugin/rootfs/img-authz

# policy: puts standard input in the place of the policy file, as an editor does
policy() {
    mkdir -p $policy_folder
    cat > $policy_folder/.policy.new
    chmod 0644 $policy_folder/.policy.new
    mv $policy_folder/.policy.new $policy_folder/policy.toml
}

# two_scopes ROOT_CA SIGNERS: two Notaries by name, each of its own repositories
two_scopes() {
    cat << END
# signers $2, tools by $1
version = 1

[verifiers.release]
type = "notary"
server = "https://notary.test:4443"
root_ca = "notary-ca.crt"
signers = [$2]
freshness = 0

[verifiers.tools]
type = "notary"
server = "https://notary.test:4443"
root_ca = "$1"
freshness = 0

[[scope]]
match = "registry.test:5000/app"
require = "release"

[[scope]]
name = "tools of the lab"
match = ["registry.test:5000/tool*", "registry.test:5000/lab/**"]
require = { all = ["tools"] }
END
}

# gate_says COMMAND...: what a command of the gate prints, both ways
gate_says() { PLUGIN=$PLUGIN "$policy_program" "$@" 2>&1; }

# in_policy TEXT: the policy in force has it
in_policy() { [[ $(gate_says policy show) = *"$1"* ]]; }

gate_tests+=(test_a_policy_file_decides_by_scope_and_by_named_verifier)
test_a_policy_file_decides_by_scope_and_by_named_verifier() {
    local app=registry.test:5000/app:1.0 tool=registry.test:5000/tool:1.0 before output status=0 container
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    two_scopes notary-ca.crt '"maker"' | policy
    # Beside the variables it is a fault, and these stay in force.
    wait_until 5 in_policy 'REGISTRY: is set, and'
    assertTrue "the fault is shown" $?
    assertTrue "what the variables say counts still" "docker pull $tool"
    docker rmi -f $tool > /dev/null
    before=$(audit_lines)
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    output=$(gate_says policy show) || status=$?
    assertEquals "shown: $output" 0 $status
    assertContains "the file is in force" "$output" '[verifiers.release]'
    pulled $app
    prints "signed by docker trust, 1.0" run $app
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["release"]' '"signers":["maker"]'
    assertTrue "the named verifier is on record" $?
    pulled $tool
    prints "signed by notary, 1.0" run $tool
    recorded "$before" '"event":"ALLOWED"' '"verifiers":["tools"]'
    assertTrue "the other is on record" $?
    refused "$not_signed" docker pull registry.test:5000/app:unsigned
    # In the registry, and in no scope.
    refused "$registry_not_allowed" docker pull registry.test:5000/plain:1.0
    refused "$registry_not_allowed" docker pull foreign.test:5001/app:1.0
    # What one scope vouches for under the name of another.
    container=$(docker create --network none $tool)
    docker tag $tool registry.test:5000/app:1.0
    refused "$content_mismatch" run registry.test:5000/app:1.0
    docker rmi -f registry.test:5000/app:1.0 > /dev/null
    # Each verifier on its own terms: the file is read again when it is saved.
    two_scopes notary-ca.crt '"maker", "carol"' | policy
    wait_until 5 in_policy '# signers "maker", "carol"'
    assertTrue "the new policy is in force" $?
    refused $signer_missing docker pull $app
    assertTrue "the other scope is as it was" "docker start $container"
    cp "$RIG/pki/ca.crt" $policy_folder/other-ca.crt
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=nobody -keyout /dev/null \
        -out $policy_folder/other-ca.crt 2> /dev/null
    two_scopes other-ca.crt '"maker"' | policy
    wait_until 5 in_policy 'tools by other-ca.crt'
    pulled $app
    docker rmi -f $tool > /dev/null
    refused "$trust_ca_refused" docker pull $tool
    docker rm -f "$container" > /dev/null
}

# records FOLDER COUNT: so many decisions are kept there
records() { [[ $(find "$1" -name '*.cases.toml' 2> /dev/null | wc -l) -ge $2 ]]; }

gate_tests+=(test_decisions_are_recorded_and_held_against_another_policy)
test_decisions_are_recorded_and_held_against_another_policy() {
    local app=registry.test:5000/app:1.0 record new output status=0
    record=$(dirname "$(audit_log)")/record
    new=$SHUNIT_TMPDIR/new
    two_scopes notary-ca.crt '"maker"' | sed 's,^version = 1$,&\nrecord = "/state/record",
        s,^require = "release"$,&\nrules = { privileged = "deny" },' | policy
    wait_until 5 in_policy 'record = "/state/record"'
    assertTrue "in force" $?
    # Allowed by Notary, refused by a rule, refused by name.
    docker pull $app > /dev/null
    refused "$create_rule" docker create --privileged $app
    refused "$registry_not_allowed" docker pull foreign.test:5001/app:1.0
    wait_until 5 records "$record" 3
    assertTrue "they are kept: $(ls -l "$record")" $?
    assertEquals "for root alone" 700 "$(stat -c %a "$record")"
    output=$("$policy_program" policy diff $policy_folder/policy.toml $policy_folder/policy.toml --record "$record" 2>&1) || status=$?
    assertEquals "the same policy says the same: $output" 0 $status
    mkdir -p "$new"
    cp $policy_folder/notary-ca.crt "$new"
    # Stricter: the scope is gone.
    sed 's,"registry.test:5000/app","registry.test:5000/none",' $policy_folder/policy.toml > "$new/policy.toml"
    status=0
    output=$("$policy_program" policy diff $policy_folder/policy.toml "$new/policy.toml" --record "$record" 2>&1) || status=$?
    assertEquals "stricter: $output" 2 $status
    assertContains "the pull" "$output" 'allow -> deny registry-not-allowed   1 decision'
    assertContains "and nothing passes" "$output" ' 1 allow -> deny, 0 deny -> allow, 1 for another reason, 0 unknown'
    # Laxer: the rule is gone. And one who was never asked is to vouch.
    sed '/privileged/d' $policy_folder/policy.toml > "$new/policy.toml"
    status=0
    output=$("$policy_program" policy diff $policy_folder/policy.toml "$new/policy.toml" --record "$record" 2>&1) || status=$?
    assertEquals "laxer: $output" 2 $status
    assertContains "the create" "$output" ' 0 allow -> deny, 1 deny -> allow, 0 for another reason, 0 unknown'
    sed 's,^require = "release"$,require = "tools",' $policy_folder/policy.toml > "$new/policy.toml"
    status=0
    output=$("$policy_program" policy diff $policy_folder/policy.toml "$new/policy.toml" --record "$record" 2>&1) || status=$?
    assertEquals "what lacks facts is not guessed: $output" 1 $status
    rm -rf "$new" "$record" "$(dirname "$record")/record.salt"
}

# with_rights EDITION TEXT: the two scopes, and what else the policy says, in force
with_rights() {
    { printf '# edition %s\n' "$1"; two_scopes notary-ca.crt '"maker"'; printf '%s\n' "$2"; } | policy
    wait_until 5 in_policy "# edition $1"
    assertTrue "edition $1 is in force" $?
}

gate_tests+=(test_rights_and_rules_in_rego_of_the_policy_file_take_away)
test_rights_and_rules_in_rego_of_the_policy_file_take_away() {
    local app=registry.test:5000/app:1.0 container
    pulled $app
    container=$(docker create --network none $app)
    with_rights readers $'[[users.group]]\nname = "readers"\nusers = ["local"]\nactions = ["*"]\nread_only = true'
    assertTrue "what reads passes" "docker ps"
    refused $user_forbidden docker start "$container"
    assertContains "by whom" "$denial" 'by `readers (policy.toml:'
    refused $user_forbidden docker pull $app
    with_rights operators $'[[users.group]]\nname = "operators"\nusers = ["local"]\nactions = ["container", "image", "docker", "plugin_inspect"]\nscopes = ["tools of the lab"]'
    refused $user_forbidden docker start "$container"
    assertContains "the scope" "$denial" 'a scope without a name'
    assertTrue "its own scope" "docker pull registry.test:5000/tool:1.0"
    cat > $policy_folder/authz.rego << 'END'
package docker.authz

allow := true

deny contains "privileged containers are not allowed" if input.Body.HostConfig.Privileged == true
END
    with_rights rego $'[rego]\nfiles = ["authz.rego"]'
    assertTrue "what the rules allow" "docker start $container"
    refused $rego_denied docker run --rm --privileged --network none $app
    assertContains "in their words" "$denial" 'privileged containers are not allowed'
    # As the engine reads it, not as it is written.
    refused $rego_denied api POST /containers/create -H 'Content-Type: application/json' \
        -d '{"Image": "registry.test:5000/app:1.0", "hostconfig": {"privileged": true}}'
    refused "$not_signed" docker pull registry.test:5000/app:unsigned
    # A faulty file: the rules that were good before.
    printf 'package docker.authz\n\nallow if {\n' > $policy_folder/authz.rego
    wait_until 5 in_policy 'authz.rego:'
    assertTrue "the fault is shown" $?
    refused $rego_denied docker run --rm --privileged --network none $app
    prints "signed by docker trust, 1.0" run $app
    engine restart
    refused $rego_denied docker run --rm --privileged --network none $app
    docker rm -f "$container" > /dev/null
    rm $policy_folder/authz.rego
}

# certificate NAME SUBJECT USE: a key and a certificate of the test's own CA, in the folder of the rig
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$RIG/tls/$1.key" -out "$RIG/tls/$1.csr" 2> /dev/null
    openssl x509 -req -in "$RIG/tls/$1.csr" -CA "$RIG/tls/ca.crt" -CAkey "$RIG/tls/ca.key" -CAcreateserial -days 2 \
        -extfile <(printf 'extendedKeyUsage=%s\nsubjectAltName=IP:127.0.0.1\n' "$3") -out "$RIG/tls/$1.crt" 2> /dev/null
}

# over_tls NAME COMMAND...: docker over TCP, with that certificate
over_tls() {
    docker --host tcp://127.0.0.1:12376 --tlsverify --tlscacert "$RIG/tls/ca.crt" --tlscert "$RIG/tls/$1.crt" --tlskey "$RIG/tls/$1.key" "${@:2}"
}

gate_tests+=(test_users_are_told_apart_by_their_certificates)
test_users_are_told_apart_by_their_certificates() {
    local app=registry.test:5000/app:1.0 container before
    mkdir -p "$RIG/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=clients -keyout "$RIG/tls/ca.key" \
        -out "$RIG/tls/ca.crt" 2> /dev/null
    certificate server /CN=engine serverAuth
    certificate alice /OU=operators/CN=alice clientAuth
    certificate mallory /OU=Operators/CN=mallory clientAuth
    certificate auditor /CN=auditor clientAuth
    certificate local /CN=local clientAuth
    certificate nameless /OU=operators clientAuth
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    two_scopes notary-ca.crt '"maker"' | policy
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    pulled $app
    engine restart --host tcp://127.0.0.1:12376 --tlsverify --tlscacert "$RIG/tls/ca.crt" --tlscert "$RIG/tls/server.crt" \
        --tlskey "$RIG/tls/server.key"
    with_rights certificates $'[[users.group]]\nname = "auditors"\nusers = ["auditor"]\nactions = ["container_list"]\n
[[users.group]]\nname = "operators"\nunits = ["operators"]\nactions = ["container_run", "container_rm"]\n
[[users.group]]\nname = "administrators"\nusers = ["local"]\nactions = ["*"]'
    before=$(audit_lines)
    prints "signed by docker trust, 1.0" over_tls alice run --name of-alice --network none $app
    recorded "$before" '"user":"alice"' '"action":"start"'
    assertTrue "who started it is on record" $?
    assertTrue "operators remove" "over_tls alice rm of-alice"
    refused $user_forbidden over_tls alice ps
    # What a user may do is judged all the same.
    refused "$registry_not_allowed" over_tls alice run --network none registry.test:5000/plain:1.0
    container=$(docker create --network none $app)
    assertContains "auditors list" "$(over_tls auditor ps --all --no-trunc)" "$container"
    refused $user_forbidden over_tls auditor rm "$container"
    refused $user_forbidden over_tls auditor run --network none $app
    # A certificate is not the local socket, another spelling is another unit, and a unit without a name is nobody.
    refused $user_forbidden over_tls local rm "$container"
    assertContains "by its own name" "$denial" 'lists user `local`'
    refused $user_forbidden over_tls mallory run --network none $app
    refused $user_forbidden over_tls nameless run --network none $app
    assertContains "nobody" "$denial" 'has no CN'
    assertTrue "the local socket" "docker rm $container"
    engine restart
}

gate_tests+=(test_a_faulty_policy_file_leaves_the_last_good_one_in_force)
test_a_faulty_policy_file_leaves_the_last_good_one_in_force() {
    local app=registry.test:5000/app:1.0 tool=registry.test:5000/tool:1.0 output status=0
    two_scopes notary-ca.crt '"maker"' | policy
    wait_until 5 in_policy '# signers "maker", tools by notary-ca.crt'
    two_scopes notary-ca.crt '"maker"' | sed 's/^server/sever/; s/require = "release"/require = "relese"/' | policy
    wait_until 5 in_policy 'verifiers.release.sever: there is no such key; `server` was meant?'
    assertTrue "each fault with its line" $?
    assertTrue "also of the scope" "in_policy 'there is no verifier \`relese\`'"
    output=$(gate_says policy check $policy_folder/policy.toml) || status=$?
    assertEquals "checked: $output" 2 $status
    assertContains "with its line" "$output" "policy.toml:6: verifiers.release.sever"
    assertContains "doctor finds it" "$(gate_says doctor)" 'settings-fault'
    pulled $app
    refused "$registry_not_allowed" docker pull registry.test:5000/plain:1.0
    engine restart
    pulled $app
    refused "$registry_not_allowed" docker pull registry.test:5000/plain:1.0
    # Others may write it: it is not read.
    two_scopes notary-ca.crt '"carol"' | policy
    chmod 0666 $policy_folder/policy.toml
    wait_until 5 in_policy 'may be changed by others than root'
    assertTrue "who may change it is told" $?
    pulled $app
    # Gone while the gate runs: what it said counts.
    rm $policy_folder/policy.toml
    wait_until 5 in_policy 'is gone'
    assertTrue "that it is gone is told" $?
    pulled $tool
    refused "$registry_not_allowed" docker pull registry.test:5000/plain:1.0
    rm -f $policy_folder/notary-ca.crt $policy_folder/other-ca.crt
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

gate_tests+=(test_the_schema_takes_policies_and_nothing_else)
test_the_schema_takes_policies_and_nothing_else() {
    output=$(python3 "$RIG_TOOLS/../suite/schema.py" "$policy_program" "$RIG_TOOLS/../.." 2>&1)
    assertEquals "$output" 0 $?
}

gate_tests+=(test_policies_of_other_tools_are_imported_and_pass_the_check)
test_policies_of_other_tools_are_imported_and_pass_the_check() {
    local file into=$RIG/imported fixtures=$RIG_TOOLS/../fixtures/import output status
    for file in "$fixtures"/*; do
        status=0
        rm -rf "$into"
        output=$("$policy_program" policy import "$file" --folder "$into" 2>&1) || status=$?
        # In each something is left out, but in the plugin's own settings of one server.
        [[ $file = */plugin.json ]] || assertEquals "$file: $output" 2 $status
        assertTrue "$file passes the check" "'$policy_program' policy check '$into/policy.toml'"
        output=$("$policy_program" policy import "$file" --folder "$into" 2>&1)
        assertEquals "nothing is overwritten: $output" 1 $?
    done
    output=$("$policy_program" policy import notation "$fixtures/containers.json" 2>&1)
    assertEquals "another format: $output" 1 $?
    output=$("$policy_program" policy import - < "$fixtures/containers.json" 2> /dev/null)
    assertContains "from standard input, refused by its own words" "$output" 'refuse = true'
}

# ruled RULES: one Notary for everything, these rules about images, and a scope without any
ruled() {
    cat << END
version = 1

[verifiers.notary]
type = "notary"
server = "https://notary.test:4443"
root_ca = "notary-ca.crt"
freshness = 0

[rules]
$1

[[scope]]
match = "registry.test:5000/**"
require = "notary"

[[scope]]
match = "registry.test:5000/lax/**"
require = "notary"
[scope.rules]
user-root = "off"
END
}

gate_tests+=(test_rules_about_images_hold_at_pull_create_and_start)
test_rules_about_images_hold_at_pull_create_and_start() {
    local ruled=registry.test:5000/ruled fresh user='"User": "1000"' check='"Healthcheck": {"Test": ["CMD", "/bin/true"]}' name output
    local before rules='user-root = "deny"
healthcheck = "deny"
secrets = "deny"
max-age = { days = 30 }
tag-latest = "deny"
exposed-ports = "deny"'
    local -A rule=([root]=user-root [sick]=healthcheck [leaky]=secrets [told]=secrets [old]=max-age [ageless]=max-age [latest]=tag-latest)
    fresh=$(date -u +%FT%TZ)
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$user, $check" publish $ruled:good "it keeps all rules" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$check" publish $ruled:root "as root" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$user, \"Healthcheck\": {\"Test\": [\"NONE\"]}" publish $ruled:sick "no check" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$user, $check, \"Env\": [\"DB_PASSWORD=hunter2\"]" publish $ruled:leaky "a password" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$user, $check" IMAGE_HISTORY='RUN API_TOKEN=hunter2 make' publish $ruled:told "a token" > /dev/null
    IMAGE_CREATED=2024-01-02T03:04:05Z IMAGE_CONFIG="$user, $check" publish $ruled:old "old" > /dev/null
    IMAGE_CONFIG="$user, $check" publish $ruled:ageless "of 1970" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG="$user, $check" publish $ruled:latest "the latest" > /dev/null
    # The deliberately bad one of the course.
    IMAGE_CREATED=$fresh IMAGE_CONFIG='"Env": ["PASSWORD=hunter2"], "ExposedPorts": {"22/tcp": {}}' \
        publish registry.test:5000/bad:latest "all that is wrong" > /dev/null
    for name in good "${!rule[@]}"; do sign_with_notary $ruled:"$name"; done
    sign_with_notary registry.test:5000/bad:latest
    # Made while there are no rules: at their start there are.
    ruled '' | policy
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    for name in good "${!rule[@]}"; do
        assertTrue "without rules: $name" "docker create --name ruled-$name --network none $ruled:$name"
    done
    ruled "$rules" | policy
    wait_until 5 in_policy 'exposed-ports'
    assertTrue "the rules are in force" $?
    for name in "${!rule[@]}"; do
        refused $image_rule docker pull $ruled:"$name"
        assertContains "which rule refuses a pull of $name" "$denial" "rule ${rule[$name]} (scope \`registry.test:5000\`, policy.toml:"
        refused $image_rule run $ruled:"$name"
        assertContains "which refuses a create of $name" "$denial" "rule ${rule[$name]} "
        refused $image_rule docker start ruled-"$name"
        assertContains "which refuses a start of $name" "$denial" "rule ${rule[$name]} "
        assertNotContains "no secret is shown" "$denial" hunter
    done
    pulled $ruled:good
    prints "it keeps all rules" run $ruled:good
    assertTrue "a start" "docker start ruled-good"
    refused $image_rule docker pull registry.test:5000/bad:latest
    assertContains "all its findings" "$denial" 'rule tag-latest '
    assertContains "all its findings" "$denial" '; also user-root, healthcheck, secrets, exposed-ports; '
    output=$(gate_says check registry.test:5000/bad:latest --action pull)
    assertEquals "each finding: $output" 5 "$(grep -c 'rule (deny, .*policy.toml:[0-9]*) ' <<< "$output")"
    # A name elsewhere gets nobody the rules there.
    docker tag $ruled:root registry.test:5000/lax/root:1.0
    refused "$no_trust_data" run registry.test:5000/lax/root:1.0
    refused $image_rule run "$(docker image inspect -f '{{.Id}}' $ruled:root)"
    # What only warns.
    ruled 'user-root = "warn"' | policy
    wait_until 5 in_policy 'user-root = "warn"'
    before=$(audit_lines)
    prints "as root" run $ruled:root
    recorded "$before" '"event":"ALLOWED"' '"rules":["user-root"]' '"warnings":["user-root: USER is not set, which is root"]'
    assertTrue "what warns is on record" $?
    for name in good "${!rule[@]}"; do docker rm -f ruled-"$name" > /dev/null; done
    docker rmi -f registry.test:5000/lax/root:1.0 > /dev/null
    rm -f $policy_folder/policy.toml $policy_folder/notary-ca.crt
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

gate_tests+=(test_rules_about_containers_hold_for_what_a_call_asks_for)
test_rules_about_containers_hold_for_what_a_call_asks_for() {
    local app=registry.test:5000/app:1.0 lax=registry.test:5000/lax/app:1.0 name keeps breaks id before digest
    local rules='extends = "cis-l2"
user-root = "off"
healthcheck = "off"
max-age = "off"
mounts = { allow = ["/srv/"] }
capabilities = { allow = ["NET_BIND_SERVICE"] }
devices = { allow = ["/dev/null"] }
memory-limit = { megabytes = 64 }
ulimits = { allow = { nofile = 1024 } }'
    # What a container has to say that keeps them all.
    local plain=' --cap-drop ALL --security-opt no-new-privileges --read-only --memory 64m --cpu-shares 512 --pids-limit 50 '
    created_with() {
        local words="$plain $1"
        [[ $1 != '- '* ]] || words=${plain/" ${1#- } "/ }
        [[ $words = *--network* ]] || words+=' --network none'
        # shellcheck disable=SC2086
        docker create $words $app
    }
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    publish $lax "of the lax scope" > /dev/null
    sign_with_notary $lax
    { ruled "$rules"; for name in privileged capabilities no-new-privileges read-only-root memory-limit cpu-limit pids-limit; do echo "$name = \"off\""; done; } | policy
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    wait_until 5 in_policy 'no-new-privileges = "off"'
    assertTrue "the rules are in force" $?
    pulled $app
    pulled $lax
    # Rule, what keeps it, what breaks it. `-`: without the words behind it.
    while IFS='|' read -r name keeps breaks; do
        id=$(created_with "$keeps")
        assertTrue "$name: keeps it: $keeps" "docker rm $id"
        refused $create_rule created_with "$breaks"
        assertContains "which rule: $breaks" "$denial" "rule $name ("
    done << 'END'
privileged||--privileged
host-network||--network host
host-pid||--pid host
host-ipc|--ipc private|--ipc host
host-uts||--uts host
host-userns||--userns host
host-cgroupns|--cgroupns private|--cgroupns host
capabilities|--cap-add NET_BIND_SERVICE|--cap-add NET_RAW
capabilities||- --cap-drop ALL
mounts|-v /srv:/srv:ro|-v /home:/h
mounts|-v named:/n|-v /srv/../home:/h
mounts|--mount type=tmpfs,target=/t|--mount type=bind,source=/home,target=/h
mounts||--mount type=volume,target=/h,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/home
mounts||--volumes-from other
docker-socket||-v /srv/docker.sock:/s
mount-propagation|-v /srv:/srv:rslave|-v /srv:/srv:rshared
devices|--device /dev/null|--device /dev/zero
seccomp||--security-opt seccomp=unconfined
apparmor||--security-opt apparmor=unconfined
selinux||--security-opt label=disable
system-paths||--security-opt systempaths=unconfined
cgroup-parent||--cgroup-parent other
no-new-privileges||- --security-opt no-new-privileges
read-only-root||- --read-only
run-as-root|--user 1000|--user 0:1000
memory-limit||- --memory 64m
memory-limit|--memory 32m|--memory 65m
cpu-limit||- --cpu-shares 512
pids-limit||- --pids-limit 50
restart-policy|--restart on-failure:5|--restart always
privileged-ports|-p 127.0.0.1:8080:80|-p 127.0.0.1:80:80
host-ip||-p 8080:80
healthcheck-off||--no-healthcheck
ulimits|--ulimit nofile=1024|--ulimit nproc=5
END
    # As the engine reads it, not as it is written.
    refused $create_rule api POST /v1.41/containers/create -H 'Content-Type: application/json' \
        -d "{\"Image\": \"$app\", \"hostconfig\": {\"privileged\": true}}"
    assertTrue "the lax scope lets it" "docker create --name lax --privileged --network none $lax && docker rm lax"
    refused $create_rule docker create --pid host --network none $lax
    docker volume rm named > /dev/null
    # What is there is changed, driven, and given volumes by the same rules.
    id=$(created_with '')
    refused $create_rule docker update --restart always "$id"
    refused $create_rule docker update --pids-limit -1 "$id"
    refused $create_rule docker exec --privileged "$id" true
    refused $create_rule docker exec --user root "$id" true
    refused $create_rule docker volume create --opt type=none --opt o=bind --opt device=/home bound
    assertTrue "a restart policy with an end" "docker update --restart on-failure:3 $id"
    assertTrue "a volume" "docker volume create plain && docker volume rm plain"
    docker rm "$id" > /dev/null
    # Services, whose tasks have the same to say in other words.
    { echo '# for services'; ruled "$rules" | sed 's/^ulimits.*/no-new-privileges = "off"\n&/'; } | policy
    wait_until 5 in_policy '# for services'
    assertTrue "the rules for services are in force" $?
    docker swarm init --advertise-addr 198.51.100.1 > /dev/null
    digest=$(docker image inspect -f '{{index .RepoDigests 0}}' $app)
    service() { docker service create --quiet --detach --no-resolve-image --replicas 0 "$@" "${digest%@*}:1.0@${digest#*@}"; }
    local -a tasks=(--read-only --cap-drop ALL --limit-memory 64m --limit-pids 50 --limit-cpu 1 --restart-max-attempts 3)
    assertTrue "a service that keeps them" "service --name plain ${tasks[*]}"
    refused $create_rule service "${tasks[@]:1}"
    assertContains "which rule" "$denial" 'rule read-only-root ('
    refused $create_rule service "${tasks[@]}" --mount type=bind,source=/etc,target=/h
    assertContains "which rule" "$denial" 'rule mounts ('
    refused $create_rule service "${tasks[@]}" --network host
    refused $create_rule service "${tasks[@]}" --publish 80:80
    assertContains "which rule" "$denial" 'rule privileged-ports ('
    refused $create_rule docker service update --quiet --detach --no-resolve-image --limit-pids 0 plain
    docker swarm leave --force > /dev/null
    # What only warns.
    ruled 'privileged = "warn"' | policy
    wait_until 5 in_policy 'privileged = "warn"'
    before=$(audit_lines)
    docker rm "$(docker create --privileged --network none $app)" > /dev/null
    recorded "$before" '"event":"ALLOWED"' '"rules":["privileged"]' '"warnings":["privileged: it is privileged"]'
    assertTrue "what warns is on record" $?
    rm -f $policy_folder/policy.toml $policy_folder/notary-ca.crt
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

# except WORDS...: `img-authz exception`, in force within seconds
except() {
    local status=0
    exception_output=$(gate_says exception "$@") || status=$?
    assertEquals "exception $*: $exception_output" 0 $status
}

gate_tests+=(test_exceptions_let_pass_what_they_name_until_they_end)
test_exceptions_let_pass_what_they_name_until_they_end() {
    local old=registry.test:5000/ruled:old good=registry.test:5000/ruled:good lax=registry.test:5000/lax/other:1.0
    local unsigned=registry.test:5000/app renamed=registry.test:5000/renamed:1.0 fresh digest twin built id ended container before output
    fresh=$(date -u +%FT%TZ)
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    digest=$(publish $unsigned:excepted "nobody signs it")
    twin=$(publish $unsigned:twin "its twin")
    IMAGE_CREATED=2024-01-02T03:04:05Z publish $old "old, and as root" > /dev/null
    IMAGE_CREATED=$fresh IMAGE_CONFIG='"User": "1000"' publish $good "keeps all rules" > /dev/null
    IMAGE_CREATED=$fresh publish $lax "root, elsewhere" > /dev/null
    sign_with_notary $old
    sign_with_notary $good
    docker rmi -f $unsigned:excepted $unsigned:twin $old $good $lax > /dev/null 2>&1
    assertContains "without a policy file it says how to make one" "$(gate_says exception list)" 'img-authz policy show > '
    ruled $'max-age = { days = 30 }\nuser-root = "deny"' | policy
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    # By digest: what nobody vouches for, by its content.
    refused "$not_signed" docker pull $unsigned@"$digest"
    except add "$digest" --for 4h --reason "a hotfix" --owner alice --ticket OPS-1 --lift user-root,max-age
    assertContains "the gate took it in" "$exception_output" 'in force'
    before=$(audit_lines)
    pulled $unsigned@"$digest"
    prints "nobody signs it" run $unsigned@"$digest"
    recorded "$before" '"event":"ALLOWED"' '"action":"start"' '"exceptions":[{"id":"x' '"owner":"alice","ticket":"OPS-1"' '"vouches":true,"lifts":["max-age","user-root"]'
    assertTrue "the exception is on record" $?
    refused "$not_signed" docker pull $unsigned:excepted
    # Its twin, by its own digest; and the excepted content under another name of a scope, and under one of none.
    refused "$not_signed" docker pull $unsigned@"$twin"
    id=$(docker image inspect -f '{{.Id}}' $unsigned@"$digest")
    docker tag "$id" $renamed
    docker tag "$id" foreign.test:5001/x:1
    prints "nobody signs it" run $renamed
    refused "$registry_not_allowed" run foreign.test:5001/x:1
    docker rmi foreign.test:5001/x:1 > /dev/null
    prints "nobody signs it" run "$id"
    built=$(docker create --network none --name excepted "$id")
    make_image $renamed "another under that name" > /dev/null
    refused "$no_trust_data" run $renamed
    docker rmi -f $renamed > /dev/null
    # A name that is signed for other content goes on to mean that.
    docker tag "$id" $good
    refused "$content_mismatch" run $good
    docker rmi $good > /dev/null
    # By reference: named rules of what that repository vouched for.
    refused $image_rule docker pull $old
    except add registry.test:5000/ruled --lift max-age --for 1h --reason "late" --owner bob
    refused $image_rule docker pull $old
    assertContains "the other rule holds" "$denial" 'rule user-root '
    except add registry.test:5000/ruled --lift CIS-4.1 --for 1h --reason "late" --owner bob
    pulled $old
    prints "old, and as root" run $old
    container=$(docker create --network none $old)
    # Content that another name got: nothing vouches for it there.
    make_image registry.test:5000/ruled:good "retagged" > /dev/null
    refused "$content_mismatch" run registry.test:5000/ruled:good
    docker rmi -f registry.test:5000/ruled:good > /dev/null
    assertTrue "while it lasts" "docker start $built && docker wait $built"
    output=$(gate_says exception list)
    assertEquals "all of them: $output" 3 "$(grep -c ' \(alice\|bob\) ' <<< "$output")"
    assertContains "doctor names it" "$(gate_says doctor)" 'exception-vouches'
    # Taken back: the containers that were made meanwhile are refused, also after a restart of the engine.
    for id in $(gate_says exception list --json | sed -n 's/.*"id": "\(x[0-9a-f]*\)".*/\1/p'); do except remove "$id"; done
    refused "$not_signed" docker start "$built"
    refused $image_rule docker start "$container"
    engine restart
    refused "$not_signed" docker start "$built"
    # One that has ended refuses again, and says so.
    ended=$(date -u -d '1 minute ago' +%FT%TZ)
    printf 'version = 1\n[[exception]]\ndigest = "%s"\nlift = ["user-root", "max-age"]\nowner = "carol"\nreason = "over"\nexpires = %s\n' \
        "$digest" "$ended" > $policy_folder/policy.d/by-hand.toml
    wait_until 5 in_policy carol
    assertTrue "the file by hand is in force" $?
    refused "$not_signed" docker start "$built"
    assertContains "which one has ended" "$denial" "of \`carol\` expired at $ended"
    assertContains "doctor warns of it" "$(gate_says doctor)" 'exception-over'
    # One that somebody else may write counts for nothing, and is not written again.
    sed -i "s/$ended/$(date -u -d '1 hour' +%FT%TZ)/" $policy_folder/policy.d/by-hand.toml
    chown nobody $policy_folder/policy.d/by-hand.toml
    wait_until 5 in_policy 'may be changed by others than root'
    assertTrue "whose file it is is told" $?
    refused "$not_signed" docker start "$built"
    assertContains "the command leaves it alone" "$(gate_says exception add "$digest" --for 1h --reason x --owner x)" 'may be changed by others'
    docker rm -f "$built" "$container" > /dev/null
    rm -rf $policy_folder/policy.toml $policy_folder/policy.d $policy_folder/notary-ca.crt
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

gate_tests+=(test_a_permissive_scope_forgives_what_lies_there_and_not_what_bears_its_name)
test_a_permissive_scope_forgives_what_lies_there_and_not_what_bears_its_name() {
    local lax=registry.test:5000/lax/plain ruled=registry.test:5000/unruled before container evil output status=0
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    publish $lax:1.0 "unsigned, in lax" > /dev/null
    publish $ruled:1.0 "unsigned, elsewhere" > /dev/null
    docker rmi -f $lax:1.0 $ruled:1.0 > /dev/null
    { ruled 'user-root = "deny"' | sed 's/^user-root = "off"$/healthcheck = "deny"/; s,^match = "registry.test:5000/lax/\*\*"$,&\nmode = "permissive",'; } | policy
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    assertTrue "in force" "in_policy 'mode = \"permissive\"'"
    before=$(audit_lines)
    assertTrue "what lies there is pulled" "docker pull $lax:1.0"
    says "unsigned, in lax" run $lax:1.0
    recorded "$before" '"event":"BLOCKED"' '"action":"start"' '"enforced":false' '"code":"'
    assertTrue "what would have refused it is on record" $?
    refused "$no_trust_data" docker pull $ruled:1.0
    # An evil image under its names: never pushed there.
    evil=$(make_image foreign.test:5001/evil:1.0 "evil")
    docker tag "$evil" $lax:2.0
    blocked "$no_trust_data" run $lax:2.0
    docker tag "$evil" $lax:1.0
    blocked "$no_trust_data" run $lax:1.0
    docker rmi -f $lax:2.0 $lax:1.0 > /dev/null
    # Made by a name that is moved between the question and the act, or before the gate was asked: judged by what it is.
    docker plugin disable "$PLUGIN" > /dev/null
    container=$(docker create --network none foreign.test:5001/evil:1.0)
    docker tag foreign.test:5001/evil:1.0 $lax:1.0
    docker plugin enable "$PLUGIN" > /dev/null
    engine gate "$PLUGIN"
    blocked "$no_trust_data" docker start "$container"
    docker rm -f "$container" > /dev/null
    docker rmi -f "$evil" > /dev/null
    assertContains "doctor calls it weak" "$(gate_says doctor)" 'scope-permissive'
    output=$(gate_says policy check $policy_folder/policy.toml)
    assertContains "it is warned of: $output" "$output" 'scope.mode: is permissive'
    sed 's/^version = 1$/&\nposture = "lockdown"/' $policy_folder/policy.toml > "$SHUNIT_TMPDIR/lockdown.toml"
    output=$(gate_says policy check "$SHUNIT_TMPDIR/lockdown.toml") || status=$?
    assertEquals "lockdown refuses it: $output" 2 $status
    assertContains "with its place" "$output" 'lockdown.toml:'
    rm -f $policy_folder/policy.toml $policy_folder/notary-ca.crt
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

# mirrors [URL]: the engine's own mirror of Docker Hub, in force; none without
mirrors() {
    python3 -c '
import json, sys
path = "/etc/docker/daemon.json"
daemon = json.load(open(path))
daemon["registry-mirrors"] = sys.argv[1:]
json.dump(daemon, open(path, "w"))' "$@"
    "$RIG_TOOLS/service.sh" signal dockerd HUP
    wait_until 10 mirrors_are "$*${1:+/}"
}

mirrors_are() { [[ $(docker info -f '{{range .RegistryConfig.Mirrors}}{{.}}{{end}}') = "$1" ]]; }

gate_tests+=(test_a_mirror_of_docker_hub_gives_bytes_and_says_no_tag)
test_a_mirror_of_docker_hub_gives_bytes_and_says_no_tag() {
    # The place of Docker Hub in this machine; the mirror is the other registry.
    local hub=registry-1.docker.io mirror=foreign.test:5001 user='"User": "1000"' name config before listed=''
    cp /etc/hosts "$SHUNIT_TMPDIR/hosts"
    echo "198.51.100.4 $hub" >> /etc/hosts
    ip address add 198.51.100.4/32 dev lo
    "$RIG_TOOLS/services.sh" registry hub $hub 443
    # dockerd, as all programs in Go, knows the file of hosts for five seconds.
    sleep 5
    # The gate knows it as references do.
    cp -r /etc/docker/certs.d/$hub:443 /etc/docker/certs.d/docker.io
    for name in $hub:443 $mirror; do
        IMAGE_CONFIG=$user publish "$name/library/kept:1.0" "the same at both" > /dev/null
        publish "$name/library/root:1.0" "as root" > /dev/null
        IMAGE_CONFIG=$user publish "$name/library/moved:1.0" "moved, as $name has it" > /dev/null
    done
    config=$(docker image inspect -f '{{.Id}}' $mirror/library/kept:1.0)
    docker images -q | sort -u | xargs docker rmi -f > /dev/null
    # Its bytes are to be had from the mirror alone.
    rm "$RIG/hub/docker/registry/v2/blobs/sha256/${config:7:2}/${config#sha256:}/data"
    mkdir -p $policy_folder
    for name in kept root moved; do
        read -r config _ < <(manifest $hub:443/library/$name:1.0)
        listed+="${listed:+, }{\"digest\": \"$config\", \"references\": [\"$name:1.0\"], \"reason\": \"a try\"}"
    done
    printf '{"version": 1, "entries": [%s]}\n' "$listed" > $policy_folder/listed.json
    cat << END | policy
version = 1

[verifiers]
hub = { type = "registry" }
listed = { type = "allowlist", file = "listed.json" }

[rules]
user-root = "deny"

[[scope]]
match = "docker.io/library/**"
require = { all = ["hub", "listed"] }
END
    reconfigure REGISTRY= NOTARY= NOTARY_ROOT_CA=
    refused "$image_config_unknown" docker pull kept:1.0
    assertContains "without a mirror nobody has the bytes" "$denial" 'user-root'
    mirrors "https://$mirror"
    assertTrue "the mirror is in force" $?
    # The gate goes by what the engine said ten seconds ago, and a new one by what it says now.
    reconfigure REGISTRY=
    pulled kept:1.0
    prints "the same at both" run kept:1.0
    refused "$image_rule" docker pull root:1.0
    # The mirror says that a tag is something else. What is pulled is compared with what Docker Hub says, and does not run.
    before=$(audit_lines)
    docker pull moved:1.0 > /dev/null
    recorded "$before" '"event":"MISMATCH"' 'moved:1.0'
    assertTrue "it is on record" $?
    refused "$not_in_registry" run moved:1.0
    # By digest alone it does not get in either.
    refused "$not_in_allowlist" docker pull "$(docker image inspect -f '{{index .RepoDigests 0}}' moved:1.0)"
    docker rmi -f kept:1.0 moved:1.0 > /dev/null
    mirrors
    assertTrue "it has none any more" $?
    "$RIG_TOOLS/service.sh" stop hub
    cat "$SHUNIT_TMPDIR/hosts" > /etc/hosts
    ip address delete 198.51.100.4/32 dev lo
    rm -rf /etc/docker/certs.d/docker.io /etc/docker/certs.d/$hub:443 $policy_folder/policy.toml $policy_folder/listed.json
    uninstall
    "$RIG_TOOLS/install.sh" > /dev/null
    docker_signed
}

# candidate: puts standard input beside the policy file, to be judged and not carried out
candidate() {
    mkdir -p $policy_folder
    cat > $policy_folder/.candidate.new
    mv $policy_folder/.candidate.new $policy_folder/policy.shadow.toml
}

# candidate_is TEXT: what the gate says of the candidate
candidate_is() { [[ $(gate_says policy show --shadow) = *"$1"* ]]; }

gate_tests+=(test_a_candidate_is_judged_beside_what_is_in_force_and_not_carried_out)
test_a_candidate_is_judged_beside_what_is_in_force_and_not_carried_out() {
    local app=registry.test:5000/app:1.0 state before output
    state=$(dirname "$(audit_log)")
    mkdir -p $policy_folder
    cp "$RIG/pki/ca.crt" $policy_folder/notary-ca.crt
    # Beside the variables: more of one repository, less of another.
    { two_scopes notary-ca.crt '"maker", "carol"'
      printf '\n[verifiers.held]\ntype = "registry"\n\n[[scope]]\nmatch = "registry.test:5000/plain"\nrequire = "held"\n'; } | candidate
    wait_until 5 candidate_is 'calls are judged by a candidate too'
    assertTrue "the candidate is judged: $(gate_says policy show --shadow)" $?
    before=$(audit_lines)
    docker rmi -f $app > /dev/null 2>&1
    pulled $app
    prints "signed by docker trust, 1.0" run $app
    wait_until 5 recorded "$before" '"event":"WOULD-DENY"' '"action":"pull"' "\"shadow_code\":\"$signer_missing\"" '"enforced":false'
    assertTrue "what passed, and the candidate would refuse, is on record" $?
    refused "$no_trust_data" docker pull registry.test:5000/plain:1.0
    wait_until 5 recorded "$before" '"event":"WOULD-ALLOW"' '"action":"pull"' "\"code\":\"$no_trust_data\"" '"enforced":true'
    assertTrue "what was refused, and the candidate would let pass, is on record" $?
    output=$(gate_says log --event would-allow)
    assertContains "the log shows it" "$output" 'the candidate lets pass what is refused'
    assertTrue "what it learns lies apart: $(ls "$state")" "[[ -d $state/shadow/trust-release ]]"
    # A fault of it touches nothing.
    echo 'version = 2' | candidate
    wait_until 5 candidate_is 'is faulty, and nothing is judged by it'
    assertTrue "the fault is shown" $?
    assertTrue "what passed passes" "docker run --rm --network none $app"
    assertContains "doctor says so" "$(gate_says doctor)" 'candidate-faulty'
    rm -f $policy_folder/policy.shadow.toml $policy_folder/notary-ca.crt
    wait_until 5 candidate_is 'there is no candidate'
    assertTrue "it is gone" $?
    docker rmi -f $app > /dev/null
}

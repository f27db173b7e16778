#!/bin/bash
# The gate end to end, on a real Docker engine, by shunit2.
#
# `make -f Makefile.test` brings up an engine, registries and Notary of its own and runs everything here. The first eight
# tests also run against a plugin that is installed and in force somewhere, as root:
#
#   PLUGIN=img-authz:latest \                       the plugin, as daemon.json names it
#   AUTHZ_IMG=registry.example/app \                signed, of an allowed registry, its tag `latest` too
#   AUTHZ_IMG_TAG=registry.example/app:1.0 \        the same with a tag
#   AUTHZ_IMG_FULL=registry.example/team/app:1.0 \  one with the whole path, registry included
#   UNAUTHZ_IMG=elsewhere.example/app:1.0 \         one of a registry that is not allowed
#   test/tests.sh [-- TEST...]
#
#   AUDIT_LOG=FILE    the gate's audit log, where it is not in the plugin's own state folder
#   RACE_TRIES=20     how often a race is run
#   LOCK_TRIES=3      how often an attack that takes half a minute is
#   RIG_SAMPLE=KIND   `engine`: without what is the gate's alone; `calls`: what an engine's own calls and answers decide
#   RIG               set by the rig alone: its scratch folder, and the sign that the further tests can run
#
# Each image needs an `echo`. They are removed from the host before they are pulled.

PLUGIN=${PLUGIN:-img-authz:latest}
if [[ -n ${RIG:-} ]]; then
    AUTHZ_IMG=registry.test:5000/app
    AUTHZ_IMG_TAG=registry.test:5000/app:1.0
    AUTHZ_IMG_FULL=registry.test:5000/tool:1.0
    UNAUTHZ_IMG=foreign.test:5001/app:1.0
    # shellcheck source=rig/images.sh
    . "$RIG_TOOLS/images.sh"
fi
: "${AUTHZ_IMG:?}" "${AUTHZ_IMG_TAG:?}" "${AUTHZ_IMG_FULL:?}" "${UNAUTHZ_IMG:?}"

# The codes of refusals (docs/reasons.md), each spelled once.
build_denied='build-denied'
content_mismatch='content-mismatch'
image_unapproved='image-unapproved'
no_image='no-image'
no_trust_data='no-trust-data'
not_signed='not-signed'
pull_all_tags='pull-all-tags'
registry_not_allowed='registry-not-allowed'
request_unreadable='request-unreadable'
service_needs_digest='service-needs-digest'
setting_fault='setting-fault'
start_with_body='start-with-body'
trust_ca_refused='trust-ca-refused'
trust_unreachable='trust-unreachable'

# --- What is asserted ---

# The audit log of the plugin as it is now: its folder bears the plugin's id, which changes when it is created anew.
audit_log() {
    printf '%s\n' "${AUDIT_LOG:-$(docker info -f '{{.DockerRootDir}}')/plugins/$(plugin_id)/propagated-mount/audit.jsonl}"
}

plugin_id() { docker plugin inspect -f '{{.Id}}' "$PLUGIN"; }

audit_lines() { wc -l < "$(audit_log)" 2> /dev/null || echo 0; }

# recorded LINES FIELD...: one entry made after so many lines has all of these fields, as `"name":value`
recorded() {
    local lines field
    lines=$(tail -n "+$(($1 + 1))" "$(audit_log)")
    shift
    for field; do lines=$(grep -F -- "$field" <<< "$lines"); done
    [[ -n $lines ]]
}

# How many refusals of a code the gate has to have recorded since so many lines. Asked once, when the test ends: refusals of one kind
# that follow each other within a second are one line with a count, a second or two later, and each would wait for its own.
declare -A refusals=()
refusals_since=0

# counted CODE NUMBER: so many are on record
counted() {
    local lines
    lines=$(tail -n "+$((refusals_since + 1))" "$(audit_log)" | grep -F '"event":"BLOCKED"' | grep -F "\"code\":\"$1\"" |
        grep -F '"enforced":true' | awk '{sum += match($0, /"count":[0-9]+/) ? substr($0, RSTART + 8, RLENGTH - 8) : 1} END {print sum + 0}')
    ((lines >= $2))
}

refusals_are_recorded() {
    local code
    for code in "${!refusals[@]}"; do
        wait_until 5 counted "$code" "${refusals[$code]}"
        assertTrue "the gate has recorded ${refusals[$code]} refusals with $code" $?
    done
    refusals=()
}

# blocked CODE COMMAND...: the command fails, and the gate will have recorded that it refused, whatever the client makes of it. Leaves
# what was said in `output`
blocked() {
    local code=$1 status=0
    shift
    output=$("$@" 2>&1) || status=$?
    [[ $1 = api ]] || assertNotEquals "exit status of: $* -- $output" 0 "$status"
    refusals[$code]=$((${refusals[$code]:-0} + 1))
}

# refused CODE COMMAND...: besides, it says one denial, of this code, complete and not too long. Leaves that in `denial`
refused() {
    local code=$1 output
    blocked "$@"
    shift
    denial=$(grep -F "authorization denied by plugin $PLUGIN: " <<< "$output")
    denial=${denial#*"authorization denied by plugin $PLUGIN: "}
    # curl prints the engine's JSON.
    denial=${denial%'"}'}
    assertEquals "one denial by $PLUGIN for: $* -- $output" 1 "$(grep -c . <<< "$denial")" || return 1
    assertEquals "code of: $denial" "$code" "${denial%%: *}"
    [[ $denial = *': '?*'; '?* ]]
    assertTrue "evidence and a remedy in: $denial" $?
    # Characters, whatever the locale of who runs this: those of a message are UTF-8.
    assertTrue "under 300 characters: $denial" "(($(printf %s "$denial" | LC_ALL=C.UTF-8 wc -m) < 300))"
}

# pulled REFERENCE: pulls it, though it is not on the host; the gate allowed it
pulled() {
    local output status=0 before
    docker rmi -f "$1" > /dev/null 2>&1
    before=$(audit_lines)
    output=$(docker pull "$1" 2>&1) || status=$?
    assertEquals "docker pull $1: $output" 0 "$status"
    recorded "$before" '"event":"ALLOWED"' '"action":"pull"'
    assertTrue "the gate has recorded the pull of $1" $?
    assertTrue "$1 is on the host" "docker image inspect $1"
}

# says WORDS COMMAND...: the command succeeds, and prints these words
says() {
    local words=$1 output status=0
    shift
    output=$("$@" 2> "$SHUNIT_TMPDIR/stderr") || status=$?
    assertEquals "exit status of: $* -- $(< "$SHUNIT_TMPDIR/stderr")" 0 "$status"
    assertEquals "output of: $*" "$words" "$output"
}

# prints WORDS COMMAND...: the command, which runs a container, does so; the gate was asked at create and at start
prints() {
    local before
    before=$(audit_lines)
    says "$@"
    recorded "$before" '"event":"ALLOWED"' '"action":"create"' && recorded "$before" '"event":"ALLOWED"' '"action":"start"'
    assertTrue "the gate has recorded create and start of: ${*:2}" $?
}

run() { docker run --rm --network none "$@"; }

# api METHOD TARGET [CURL-ARGUMENT...]: a call as no client of docker's makes it; prints the answer
api() {
    local method=$1 target=$2
    shift 2
    curl -sS --max-time 60 --unix-socket /run/docker.sock -X "$method" "http://engine$target" "$@"
}

# --- The eight classic tests ---

test_docker_pull_is_allowed() {
    pulled "$AUTHZ_IMG_TAG"
}

test_docker_run_is_allowed() {
    docker rmi -f "$AUTHZ_IMG_TAG" > /dev/null 2>&1
    prints "it runs" run "$AUTHZ_IMG_TAG" echo "it runs"
    prints "it runs again" run "$AUTHZ_IMG_TAG" echo "it runs again"
}

test_pull_is_not_allowed_when_registry_is_not_authorized() {
    refused $registry_not_allowed docker pull "$UNAUTHZ_IMG"
    assertFalse "$UNAUTHZ_IMG did not come" "docker image inspect $UNAUTHZ_IMG"
}

test_run_is_not_allowed_when_registry_is_not_authorized() {
    refused $registry_not_allowed run "$UNAUTHZ_IMG" echo "it must not run"
    assertFalse "$UNAUTHZ_IMG did not come" "docker image inspect $UNAUTHZ_IMG"
}

test_pull_is_allowed_when_registry_is_authorized() {
    pulled "$AUTHZ_IMG_FULL"
}

test_run_is_allowed_when_registry_is_authorized() {
    docker rmi -f "$AUTHZ_IMG_FULL" > /dev/null 2>&1
    prints "it runs" run "$AUTHZ_IMG_FULL" echo "it runs"
}

test_pull_is_allowed_when_tag_not_specified() {
    pulled "$AUTHZ_IMG"
    assertTrue "it is the tag latest" "docker image inspect $AUTHZ_IMG:latest"
}

test_run_is_allowed_when_tag_not_specified() {
    docker rmi -f "$AUTHZ_IMG" > /dev/null 2>&1
    prints "it runs" run "$AUTHZ_IMG" echo "it runs"
}

# --- What is not signed ---

further_tests+=(test_unsigned_image_is_refused)
test_unsigned_image_is_refused() {
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
    refused $no_trust_data run registry.test:5000/plain:1.0
}

further_tests+=(test_unsigned_tag_of_a_signed_repository_is_refused)
test_unsigned_tag_of_a_signed_repository_is_refused() {
    refused $not_signed docker pull registry.test:5000/app:unsigned
    refused $not_signed run registry.test:5000/app:unsigned
}

further_tests+=(test_pull_of_all_tags_is_refused)
test_pull_of_all_tags_is_refused() {
    refused $pull_all_tags docker pull --all-tags registry.test:5000/app
}

gate_tests+=(test_two_signers_made_the_trust_data)
test_two_signers_made_the_trust_data() {
    docker_signed
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    pulled registry.test:5000/tool:1.0
    prints "signed by notary, 1.0" run registry.test:5000/tool:1.0
}

# --- One name, other bytes ---

# The signed image on the host, as signed, whatever an earlier test has put under its name.
docker_signed() { pulled registry.test:5000/app:1.0; }

# An image that nobody vouches for, on the host as evil:1.0; prints its id.
evil() { make_image evil:1.0 evil; }

further_tests+=(test_retagged_image_does_not_run)
test_retagged_image_does_not_run() {
    evil > /dev/null
    refused $registry_not_allowed run evil:1.0
    docker tag evil:1.0 registry.test:5000/app:1.0
    refused $content_mismatch run registry.test:5000/app:1.0
    docker_signed
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
}

further_tests+=(test_signed_content_under_another_signed_name_does_not_run)
test_signed_content_under_another_signed_name_does_not_run() {
    pulled registry.test:5000/tool:1.0
    docker tag registry.test:5000/tool:1.0 registry.test:5000/app:1.0
    refused $content_mismatch run registry.test:5000/app:1.0
    pulled registry.test:5000/app:latest
    docker tag registry.test:5000/app:latest registry.test:5000/app:1.0
    refused $content_mismatch run registry.test:5000/app:1.0
    docker_signed
}

further_tests+=(test_loaded_image_does_not_run_under_a_signed_name)
test_loaded_image_does_not_run_under_a_signed_name() {
    evil > /dev/null
    docker tag evil:1.0 registry.test:5000/app:1.0
    docker save registry.test:5000/app:1.0 > "$SHUNIT_TMPDIR/evil.tar"
    docker_signed
    docker load -i "$SHUNIT_TMPDIR/evil.tar" > /dev/null
    assertEquals "the loaded image has taken the name" "$(docker inspect -f '{{.Id}}' evil:1.0)" \
        "$(docker inspect -f '{{.Id}}' registry.test:5000/app:1.0)"
    refused $content_mismatch run registry.test:5000/app:1.0
    docker_signed
}

further_tests+=(test_signed_image_runs_after_save_and_load)
test_signed_image_runs_after_save_and_load() {
    docker_signed
    docker save registry.test:5000/app:1.0 > "$SHUNIT_TMPDIR/good.tar"
    docker rmi -f registry.test:5000/app:1.0 > /dev/null
    docker load -i "$SHUNIT_TMPDIR/good.tar" > /dev/null
    # What was loaded has no RepoDigests: the gate knows the content from its record of the earlier approval.
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
}

further_tests+=(test_tag_moved_in_the_registry_brings_nothing_that_runs)
test_tag_moved_in_the_registry_brings_nothing_that_runs() {
    local before
    # Notary's word is for the earlier content. The registry has other content under the tag by the time of the pull.
    publish registry.test:5000/moved:1.0 "moved: as signed" > /dev/null
    sign_with_notary registry.test:5000/moved:1.0
    publish registry.test:5000/moved:1.0 "moved: as attacked" > /dev/null
    docker rmi -f registry.test:5000/moved:1.0 > /dev/null
    before=$(audit_lines)
    docker pull registry.test:5000/moved:1.0 > /dev/null 2>&1
    wait_until 5 recorded "$before" '"event":"MISMATCH"' '"image":"registry.test:5000/moved:1.0"'
    assertTrue "the mismatch is recorded" $?
    refused $content_mismatch run registry.test:5000/moved:1.0
    refused $not_signed run "$(docker inspect -f '{{.Id}}' registry.test:5000/moved:1.0)"
}

wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# before_the_gate COMMAND...: with the gate out of the chain
before_the_gate() {
    engine gate none
    "$@"
    engine gate "$PLUGIN"
}

engine() { "$RIG_TOOLS/engine.sh" "$@"; }

# --- Other ways to name an image ---

further_tests+=(test_image_by_id)
test_image_by_id() {
    local id evil_id
    docker_signed
    id=$(docker inspect -f '{{.Id}}' registry.test:5000/app:1.0)
    prints "signed by docker trust, 1.0" run "$id"
    prints "signed by docker trust, 1.0" run "${id#sha256:}"
    prints "signed by docker trust, 1.0" run "$(cut -c 8-19 <<< "$id")"
    evil_id=$(evil)
    refused $registry_not_allowed run "$evil_id"
    refused $registry_not_allowed run "$(cut -c 8-19 <<< "$evil_id")"
    # An image without any name.
    evil_id=$(make_image '' nameless)
    refused $image_unapproved run "$evil_id"
    docker rmi -f "$evil_id" > /dev/null
}

further_tests+=(test_image_by_digest)
test_image_by_digest() {
    local digest unsigned
    docker_signed
    digest=$(docker inspect -f '{{index .RepoDigests 0}}' registry.test:5000/app:1.0)
    pulled "$digest"
    prints "signed by docker trust, 1.0" run "$digest"
    docker_signed
    prints "signed by docker trust, 1.0" run "registry.test:5000/app:1.0@${digest#*@}"
    # A digest decides, not the tag before it.
    prints "signed by docker trust, 1.0" run "registry.test:5000/app:latest@${digest#*@}"
    unsigned=$(registry_digest app unsigned)
    refused $not_signed docker pull "registry.test:5000/app@$unsigned"
    refused $not_signed run "registry.test:5000/app:1.0@$unsigned"
}

# registry_digest REPOSITORY TAG
registry_digest() { manifest "registry.test:5000/$1:$2" | cut -d ' ' -f 1; }

further_tests+=(test_image_of_several_platforms)
test_image_of_several_platforms() {
    local many=registry.test:5000/many own other=arm64
    own=$(dpkg --print-architecture)
    [[ $own != arm64 ]] || other=amd64
    publish $many:own "for this machine" > /dev/null
    publish $many:other "for another" $other > /dev/null
    publish_index $many:1.0 own:"$own" other:$other
    sign_with_notary $many:1.0
    publish_index $many:unsigned other:$other own:"$own"
    docker rmi -f $many:own $many:other > /dev/null
    pulled $many:1.0
    prints "for this machine" run $many:1.0
    # What is signed is the index, and by it each platform of it. The programs are this machine's all the same.
    docker rmi -f $many:1.0 > /dev/null
    prints "for another" run --platform linux/$other $many:1.0
    docker rmi -f $many:1.0 > /dev/null
    # An index of the same images is another one, and one of its images alone is none.
    refused $not_signed docker pull $many:unsigned
    refused $not_signed docker pull $many:own
    refused $not_signed docker pull "$many@$(registry_digest many own)"
}

further_tests+=(test_container_of_an_image_whose_names_are_gone_starts)
test_container_of_an_image_whose_names_are_gone_starts() {
    docker_signed
    docker create --name nameless --network none registry.test:5000/app:1.0 > /dev/null
    docker rmi -f registry.test:5000/app:1.0 > /dev/null
    assertFalse "the image is gone" "docker image inspect registry.test:5000/app:1.0"
    assertEquals "the container's output" "signed by docker trust, 1.0" "$(docker start -a nameless 2>&1)"
    docker rm -f nameless > /dev/null
}

further_tests+=(test_container_without_an_image_is_refused)
test_container_without_an_image_is_refused() {
    refused $no_image api POST /containers/create -H 'Content-Type: application/json' -d '{"Cmd": ["/bin/sh"]}'
    refused $no_image api POST /containers/create -H 'Content-Type: application/json' -d '{"Image": "", "Cmd": ["/bin/sh"]}'
}

further_tests+=(test_every_api_version_is_judged)
test_every_api_version_is_judged() {
    local minor
    docker_signed
    evil > /dev/null
    assertTrue "versions from $engine_min_api to $engine_api" "((${engine_api#1.} - ${engine_min_api#1.} > 10))"
    for ((minor = ${engine_min_api#1.}; minor <= ${engine_api#1.}; minor++)); do
        posted "/v1.$minor/containers/create" '{"Image": "registry.test:5000/app:1.0"}'
        assertTrue "API 1.$minor" $?
        refused $registry_not_allowed api POST "/v1.$minor/containers/create" -H 'Content-Type: application/json' \
            -d '{"Image": "evil:1.0"}'
    done
}

# --- Calls that the gate cannot read ---

further_tests+=(test_padded_request_is_refused)
test_padded_request_is_refused() {
    evil > /dev/null
    local code=$registry_not_allowed
    ! hides_large_bodies || code=$request_unreadable
    {
        printf '{"Image": "evil:1.0", "Labels": {"padding": "'
        head -c 1048576 /dev/zero | tr '\0' x
        printf '"}}'
    } > "$SHUNIT_TMPDIR/padded.json"
    refused $code api POST '/containers/create?name=padded' -H 'Content-Type: application/json' \
        --data-binary "@$SHUNIT_TMPDIR/padded.json"
    assertFalse "it was not created" "docker inspect padded"
}

further_tests+=(test_hidden_form_body_is_refused)
test_hidden_form_body_is_refused() {
    # A form's fields come before those of the query, and the engine shows plugins none of them.
    refused $request_unreadable api POST '/images/create?fromImage=registry.test:5000/app&tag=1.0' \
        -d 'fromImage=foreign.test:5001/app&tag=1.0'
    assertFalse "it did not come" "docker image inspect foreign.test:5001/app:1.0"
}

further_tests+=(test_start_with_a_body_is_refused)
test_start_with_a_body_is_refused() {
    docker_signed
    docker create --name bodied --network none registry.test:5000/app:1.0 > /dev/null
    refused $start_with_body api POST /v1.23/containers/bodied/start -H 'Content-Type: application/json' \
        -d '{"Privileged": true}'
    docker rm -f bodied > /dev/null
}

# --- What brings images in by other ways ---

further_tests+=(test_service_is_pinned_and_signed)
test_service_is_pinned_and_signed() {
    local digest unsigned status=0
    docker_signed
    docker swarm init --advertise-addr 198.51.100.1 > /dev/null
    digest=$(registry_digest app 1.0)
    unsigned=$(registry_digest app unsigned)
    refused $service_needs_digest docker service create --detach --no-resolve-image registry.test:5000/app:1.0
    refused $not_signed docker service create --detach --no-resolve-image "registry.test:5000/app@$unsigned"
    docker service create --quiet --name web --network host --restart-condition none --no-resolve-image \
        --detach "registry.test:5000/app:1.0@$digest" > "$SHUNIT_TMPDIR/service" 2>&1 || status=$?
    assertEquals "service create: $(< "$SHUNIT_TMPDIR/service")" 0 "$status"
    wait_until 30 service_prints "signed by docker trust, 1.0"
    status=$?
    assertTrue "the service's task has run: $(docker service ps web 2>&1)" $status
    refused $service_needs_digest docker service update --detach --no-resolve-image --image registry.test:5000/app:latest web
    docker service rm web > /dev/null
    docker swarm leave --force > /dev/null
}

service_prints() { [[ $(docker service logs --raw web 2> /dev/null) = *"$1"* ]]; }

# --- The postures, ordinary work, builds, doctor ---

if [[ -n ${RIG:-} ]]; then
    # shellcheck source=suite/engines.sh
    . "$RIG_TOOLS/../suite/engines.sh"
    # shellcheck source=suite/lockdown.sh
    . "$RIG_TOOLS/../suite/lockdown.sh"
    # shellcheck source=suite/signers.sh
    . "$RIG_TOOLS/../suite/signers.sh"
    # shellcheck source=suite/policy.sh
    . "$RIG_TOOLS/../suite/policy.sh"
    # shellcheck source=suite/cosign.sh
    . "$RIG_TOOLS/../suite/cosign.sh"
    # shellcheck source=suite/notation.sh
    . "$RIG_TOOLS/../suite/notation.sh"
    # shellcheck source=suite/referrers.sh
    . "$RIG_TOOLS/../suite/referrers.sh"
    # shellcheck source=suite/monitor.sh
    . "$RIG_TOOLS/../suite/monitor.sh"
    # shellcheck source=suite/twofaced.sh
    . "$RIG_TOOLS/../suite/twofaced.sh"
    # shellcheck source=suite/ordinary.sh
    . "$RIG_TOOLS/../suite/ordinary.sh"
    # shellcheck source=suite/builds.sh
    . "$RIG_TOOLS/../suite/builds.sh"
    # shellcheck source=suite/doctor.sh
    . "$RIG_TOOLS/../suite/doctor.sh"
    # shellcheck source=suite/commands.sh
    . "$RIG_TOOLS/../suite/commands.sh"
    # shellcheck source=suite/newest.sh
    . "$RIG_TOOLS/../suite/newest.sh"
    # shellcheck source=suite/plugins.sh
    . "$RIG_TOOLS/../suite/plugins.sh"
    # shellcheck source=suite/clients.sh
    . "$RIG_TOOLS/../suite/clients.sh"
    # shellcheck source=suite/chaos.sh
    . "$RIG_TOOLS/../suite/chaos.sh"
    # shellcheck source=suite/churn.sh
    . "$RIG_TOOLS/../suite/churn.sh"
fi

# --- Races ---

# races COUNT NAME ARGUMENT...: test/suite/races.py, whose counts are printed
races() {
    local output status=0
    output=$(python3 "$RIG_TOOLS/../suite/races.py" --ca "$RIG/pki/ca.crt" "$@" 2>&1) || status=$?
    printf '%s\n' "$output"
    assertEquals "races.py $*: $output" 0 "$status"
}

# raced RACE [REFERENCE [ARGUMENT...]]: without the gate (and with these arguments) the other content starts, so the race is one;
# with it, never
raced() {
    local race=$1 good=${2:-registry.test:5000/app:1.0} id container
    docker_signed
    engine gate none
    id=$(evil)
    races "$race" --good "$good" --evil "$id" --unguarded "${@:3}"
    container=$(docker create --label race --network none "$id")
    engine gate "$PLUGIN"
    docker_signed
    races "$race" --tries "${RACE_TRIES:-20}" --good "$good" --evil "$id" --container "$container"
    docker ps -aq --filter label=race | xargs -r docker rm -f > /dev/null
    docker_signed
}

# A thousand times each: `make -f Makefile.test races`.
race_tests+=(test_race_container_renamed_before_its_start)
test_race_container_renamed_before_its_start() { raced rename; }

race_tests+=(test_race_container_removed_before_its_start)
test_race_container_removed_before_its_start() { raced remove; }

# The engines that trim such names are in no Debian release: the others refuse them too, so there is no control on those.
race_tests+=(test_race_white_space_in_a_name)
test_race_white_space_in_a_name() { raced white-space registry.test:5000/app:1.0 --tries-alone --tries 6; }

race_tests+=(test_race_tag_moved_on_the_host_before_a_create)
test_race_tag_moved_on_the_host_before_a_create() { raced tag-on-host; }

race_tests+=(test_race_tag_moved_in_the_registry_before_a_pull)
test_race_tag_moved_in_the_registry_before_a_pull() {
    publish registry.test:5000/moving:1.0 "moving: as signed" > /dev/null
    sign_with_notary registry.test:5000/moving:1.0
    # The same content as the image evil:1.0.
    publish registry.test:5000/moving:other evil > /dev/null
    raced tag-in-registry registry.test:5000/moving:1.0
    docker rmi -f registry.test:5000/moving:1.0 registry.test:5000/moving:other > /dev/null 2>&1
}

race_tests+=(test_race_tag_of_an_image_mount)
test_race_tag_of_an_image_mount() {
    if has_image_mounts; then
        raced image-mount
    else
        echo "no image mounts on this engine: the gate refuses them all the same (test_posture_images)"
    fi
}

race_tests+=(test_race_container_older_than_the_policy)
test_race_container_older_than_the_policy() {
    local container
    docker_signed
    reconfigure REGISTRY=registry.test:5000,foreign.test:5001 NOTARY=off
    docker pull -q foreign.test:5001/app:1.0 > /dev/null
    container=$(docker create --network none foreign.test:5001/app:1.0)
    assertTrue "it was allowed then" "docker start $container"
    docker rm -f "$container" > /dev/null
    container=$(docker create --network none foreign.test:5001/app:1.0)
    reconfigure REGISTRY=registry.test:5000 NOTARY=https://notary.test:4443
    races before --tries "${RACE_TRIES:-20}" --good registry.test:5000/app:1.0 --evil foreign.test:5001/app:1.0 --container "$container"
    docker rm -f "$container" > /dev/null
    docker rmi -f foreign.test:5001/app:1.0 > /dev/null
}

# --- Locks that a client holds ---

# locks ARGUMENT...: test/suite/locks.py
locks() {
    local output status=0
    output=$(python3 "$RIG_TOOLS/../suite/locks.py" "$@" 2>&1) || status=$?
    printf '%s\n' "$output"
    assertEquals "locks.py $*: $output" 0 "$status"
}

# locked TRIES WHAT: without the gate the start by name goes through, so there is something to refuse; with it, it does not
locked() {
    local tries=$1 what=$2 good=registry.test:5000/app:1.0 id containers=()
    docker_signed
    engine gate none
    id=$(evil)
    locks "$what" --good "$good" --evil "$id" --unguarded
    while ((${#containers[@]} < 2 * tries)); do
        containers+=(--container "$(docker create --label race --network none "$id")")
    done
    engine gate "$PLUGIN"
    docker_signed
    locks "$what" --good "$good" --evil "$id" "${containers[@]}"
    docker ps -aq --filter label=race | xargs -r docker rm -f > /dev/null
    docker_signed
}

# Twenty tries each: `make -f Makefile.test attacks`.
lock_tests+=(test_a_name_that_is_being_given_starts_nothing)
test_a_name_that_is_being_given_starts_nothing() { locked "${LOCK_TRIES:-3}" rename; }

lock_tests+=(test_a_name_that_was_being_given_when_the_gate_died_starts_nothing)
test_a_name_that_was_being_given_when_the_gate_died_starts_nothing() { locked "${LOCK_TRIES:-3}" restart; }

further_tests+=(test_a_container_that_hangs_holds_no_other_up)
test_a_container_that_hangs_holds_no_other_up() { locked 1 look; }

further_tests+=(test_containers_that_hang_hold_no_other_up)
test_containers_that_hang_hold_no_other_up() { locked 1 many; }

further_tests+=(test_a_name_that_a_create_gives_starts_nothing)
test_a_name_that_a_create_gives_starts_nothing() { locked 1 create; }

further_tests+=(test_a_form_that_is_withheld_starts_nothing)
test_a_form_that_is_withheld_starts_nothing() { locked 2 form; }

# --- The plugin's life ---

# reconfigure NAME=VALUE...: as the documentation says: disable, set, enable, SIGHUP
reconfigure() {
    docker plugin disable "$PLUGIN" > /dev/null && docker plugin set "$PLUGIN" "$@" &&
        docker plugin enable "$PLUGIN" > /dev/null && engine gate "$PLUGIN"
}

further_tests+=(test_disabling_ends_enforcement_and_sighup_brings_it_back)
test_disabling_ends_enforcement_and_sighup_brings_it_back() {
    local before
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
    before=$(audit_lines)
    docker plugin disable "$PLUGIN" > /dev/null
    recorded "$before" '"event":"GATE"'
    assertTrue "that somebody disabled the gate is on record" $?
    assertTrue "disabled, it refuses nothing" "docker pull registry.test:5000/plain:1.0"
    docker rmi registry.test:5000/plain:1.0 > /dev/null
    docker plugin enable "$PLUGIN" > /dev/null
    assertTrue "enabled, it is not asked yet" "docker pull registry.test:5000/plain:1.0"
    docker rmi registry.test:5000/plain:1.0 > /dev/null
    engine gate "$PLUGIN"
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
}

further_tests+=(test_daemon_json_and_sighup_switch_the_gate)
test_daemon_json_and_sighup_switch_the_gate() {
    engine gate none
    assertTrue "out of the chain, it refuses nothing" "docker pull registry.test:5000/plain:1.0"
    docker rmi registry.test:5000/plain:1.0 > /dev/null
    engine gate "$PLUGIN"
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
}

further_tests+=(test_engine_restart_keeps_the_gate)
test_engine_restart_keeps_the_gate() {
    engine restart
    assertTrue "docker ps" "docker ps"
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
    pulled registry.test:5000/app:1.0
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
}

gate_tests+=(test_plugin_set_changes_the_registries)
test_plugin_set_changes_the_registries() {
    refused $registry_not_allowed docker pull foreign.test:5001/app:1.0
    reconfigure REGISTRY=registry.test:5000,foreign.test:5001
    refused $no_trust_data docker pull foreign.test:5001/app:1.0
    reconfigure REGISTRY=foreign.test:5001
    refused $registry_not_allowed docker pull registry.test:5000/app:1.0
    reconfigure REGISTRY=registry.test:5000
    pulled registry.test:5000/app:1.0
}

gate_tests+=(test_notary_root_ca_of_many_lines)
test_notary_root_ca_of_many_lines() {
    local ca
    ca=$(< "$RIG/pki/ca.crt")
    assertTrue "the certificate has lines" "(($(wc -l <<< "$ca") > 5))"
    assertContains "and was installed as it is" "$(docker plugin inspect -f '{{range .Settings.Env}}{{println .}}{{end}}' \
        "$PLUGIN")" "NOTARY_ROOT_CA=$ca"
    pulled registry.test:5000/app:1.0
    # As shells leave it, when its quotes are quoted.
    reconfigure NOTARY_ROOT_CA="'$ca'"
    pulled registry.test:5000/app:1.0
    reconfigure NOTARY_ROOT_CA="

  $ca  "
    pulled registry.test:5000/app:1.0
    reconfigure NOTARY_ROOT_CA="$ca"
}

gate_tests+=(test_wrong_notary_root_ca)
test_wrong_notary_root_ca() {
    reconfigure NOTARY_ROOT_CA="$(< "$RIG/pki/stranger.crt")"
    assertTrue "docker ps works" "docker ps"
    refused $trust_ca_refused docker pull registry.test:5000/app:1.0
    engine restart
    assertTrue "docker ps works after a restart of the engine" "docker ps"
    refused $trust_ca_refused docker pull registry.test:5000/app:1.0
    # None at all is no fault: the plugin has the public CAs, of which this server's is none.
    reconfigure NOTARY_ROOT_CA=
    refused $trust_ca_refused docker pull registry.test:5000/app:1.0
    reconfigure NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")"
    pulled registry.test:5000/app:1.0
}

gate_tests+=(test_faulty_setting_keeps_the_last_good_ones)
test_faulty_setting_keeps_the_last_good_ones() {
    reconfigure NOTARY_ROOT_CA="no certificate" MODE=no-such-mode
    assertTrue "docker ps works" "docker ps"
    pulled registry.test:5000/app:1.0
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
    engine restart
    assertTrue "docker ps works after a restart of the engine" "docker ps"
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
    reconfigure NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")" MODE=
    pulled registry.test:5000/app:1.0
}

gate_tests+=(test_faulty_setting_of_a_new_installation)
test_faulty_setting_of_a_new_installation() {
    uninstall
    "$RIG_TOOLS/install.sh" MODE=no-such-mode > /dev/null
    assertTrue "docker ps works" "docker ps"
    refused $setting_fault docker pull registry.test:5000/app:1.0
    reconfigure MODE=
    pulled registry.test:5000/app:1.0
}

# Takes the plugin out of the chain and away, with its state.
uninstall() {
    refusals_are_recorded
    refusals_since=0
    engine gate none
    docker plugin disable "$PLUGIN" > /dev/null
    docker plugin rm "$PLUGIN" > /dev/null
}

gate_tests+=(test_mode_permissive_records_and_lets_pass)
test_mode_permissive_records_and_lets_pass() {
    local before
    reconfigure MODE=permissive
    before=$(audit_lines)
    assertTrue "an unsigned image may come" "docker pull registry.test:5000/plain:1.0"
    wait_until 5 recorded "$before" '"event":"BLOCKED"' "\"code\":\"$no_trust_data\"" '"enforced":false'
    assertTrue "and it is on record that it would not" $?
    docker rmi registry.test:5000/plain:1.0 > /dev/null
    reconfigure MODE=
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
}

# --- Trouble ---

# Notary is cut off: its address is gone, its state is not.
unplug_notary() { ip address del 198.51.100.3/32 dev lo; }
plug_notary() { ip address add 198.51.100.3/32 dev lo; }

gate_tests+=(test_notary_down)
test_notary_down() {
    local before
    docker_signed
    # Nothing of this repository is known yet to the gate.
    publish registry.test:5000/later:1.0 "signed later" > /dev/null
    sign_with_notary registry.test:5000/later:1.0
    docker rmi -f registry.test:5000/later:1.0 > /dev/null
    unplug_notary
    refused $trust_unreachable docker pull registry.test:5000/later:1.0
    # What the last verified trust data covers goes on running.
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    assertTrue "docker ps works" "docker ps"
    plug_notary
    # The gate remembers an outage for half a minute.
    wait_until 45 docker pull -q registry.test:5000/later:1.0 > /dev/null 2>&1
    assertTrue "once Notary is back, the pull is allowed" $?
    prints "signed later" run registry.test:5000/later:1.0
}

gate_tests+=(test_notary_that_hangs_holds_nothing_up)
test_notary_that_hangs_holds_nothing_up() {
    local begun asked took longest=0 listed=0 status=0 pull
    publish registry.test:5000/hung:1.0 "signed, asked about in vain" > /dev/null
    sign_with_notary registry.test:5000/hung:1.0
    docker rmi -f registry.test:5000/hung:1.0 > /dev/null
    "$RIG_TOOLS/service.sh" signal notary-server STOP
    begun=$(date +%s%N)
    docker pull registry.test:5000/hung:1.0 > "$SHUNIT_TMPDIR/hung" 2>&1 &
    pull=$!
    # As long as the pull waits, others are answered. What `docker ps` asks, without the time that the command itself takes.
    while kill -0 $pull 2> /dev/null; do
        asked=$(date +%s%N)
        api GET /containers/json -f > /dev/null && listed=$((listed + 1))
        took=$(($(date +%s%N) - asked))
        ((took <= longest)) || longest=$took
        sleep 0.05
    done
    wait $pull || status=$?
    took=$(($(date +%s%N) - begun))
    "$RIG_TOOLS/service.sh" signal notary-server CONT
    assertNotEquals "the pull is refused" 0 "$status"
    assertContains "and says why" "$(< "$SHUNIT_TMPDIR/hung")" "$trust_unreachable"
    assertTrue "it waited for Notary, and not more than 10 s: $took ns" "((2000000000 < took && took < 10000000000))"
    assertTrue "containers are listed meanwhile ($listed times), none waited as long: $longest ns" \
        "((listed > 0 && longest < took / 2))"
    wait_until 45 docker pull -q registry.test:5000/hung:1.0 > /dev/null 2>&1
    assertTrue "once Notary is back, the pull is allowed" $?
}

further_tests+=(test_plugin_killed_during_a_call)
test_plugin_killed_during_a_call() {
    local pid pull status=0
    # A call that takes its time: the gate asks a Notary that does not answer, about a repository it knows nothing of.
    publish registry.test:5000/killed:1.0 "signed, but its question died" > /dev/null
    docker rmi -f registry.test:5000/killed:1.0 > /dev/null
    "$RIG_TOOLS/service.sh" signal notary-server STOP
    pid=$(plugin_pid)
    docker pull registry.test:5000/killed:1.0 > "$SHUNIT_TMPDIR/killed" 2>&1 &
    pull=$!
    sleep 1
    kill -KILL "$pid"
    assertTrue "the gate was killed while it was asked" $?
    wait $pull || status=$?
    "$RIG_TOOLS/service.sh" signal notary-server CONT
    # dockerd has asked again, with an empty body.
    assertNotEquals "the pull is refused: $(< "$SHUNIT_TMPDIR/killed")" 0 "$status"
    assertContains "$(< "$SHUNIT_TMPDIR/killed")" "$request_unreadable"
    assertFalse "nothing came" "docker image inspect registry.test:5000/killed:1.0"
    assertNotEquals "it is another process now" "$pid" "$(plugin_pid)"
    pulled registry.test:5000/app:1.0
    refused $no_trust_data docker pull registry.test:5000/plain:1.0
}

plugin_pid() { pgrep -f '^/img-authz serve'; }

# --- By way of a registry ---

# An installation of its own: the plugin as pushed to a TLS registry. Content can be there once, so the first one goes.
further_tests+=(test_install_from_a_registry_and_upgrade)
test_install_from_a_registry_and_upgrade() {
    local first=$PLUGIN remote=registry.test:5000/tools/img-authz repo rootfs id before
    repo=$(cd "$RIG_TOOLS/../.." && pwd)
    uninstall

    # Two versions, of which the second differs by a file.
    make -s -C "$repo" create push PLUGIN_NAME=$remote PLUGIN_TAG=1 > "$SHUNIT_TMPDIR/make" 2>&1
    status=$?
    assertTrue "make create push: $(< "$SHUNIT_TMPDIR/make")" $status
    docker plugin rm $remote:1 > /dev/null
    rootfs=$SHUNIT_TMPDIR/second
    mkdir -p "$rootfs"
    cp -a "$repo/plugin/config.json" "$repo/plugin/rootfs" "$rootfs"
    echo 2 > "$rootfs/rootfs/version"
    docker plugin create $remote:2 "$rootfs" > /dev/null
    docker plugin push $remote:2 > /dev/null 2>&1
    assertTrue "the second version is pushed" $?
    docker plugin rm $remote:2 > /dev/null

    docker plugin install --grant-all-permissions $remote:1 REGISTRY=registry.test:5000 NOTARY=https://notary.test:4443 \
        NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")" > "$SHUNIT_TMPDIR/install" 2>&1
    status=$?
    assertTrue "docker plugin install: $(< "$SHUNIT_TMPDIR/install")" $status
    PLUGIN=$remote:1
    engine gate $PLUGIN
    pulled registry.test:5000/app:1.0
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    refused $no_trust_data docker pull registry.test:5000/plain:1.0

    # The upgrade keeps settings and state. Installed is the second version, under the name of the first.
    id=$(plugin_id)
    before=$(audit_lines)
    assertTrue "there is something to keep" "((before > 0))"
    engine gate none
    docker plugin disable $PLUGIN > /dev/null
    docker plugin upgrade --grant-all-permissions --skip-remote-check $PLUGIN $remote:2 > "$SHUNIT_TMPDIR/upgrade" 2>&1
    status=$?
    assertTrue "docker plugin upgrade: $(< "$SHUNIT_TMPDIR/upgrade")" $status
    docker plugin enable $PLUGIN > /dev/null
    engine gate $PLUGIN
    assertEquals "the plugin's id" "$id" "$(plugin_id)"
    assertTrue "the new version is in place" "[[ -e $RIG_DATA/plugins/$id/rootfs/version ]]"
    assertTrue "the record is continued" "(($(audit_lines) >= before))"
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    refused $no_trust_data docker pull registry.test:5000/plain:1.0

    uninstall
    PLUGIN=$first
    "$RIG_TOOLS/install.sh" > /dev/null
    pulled registry.test:5000/app:1.0
}

# --- The record ---

gate_tests+=(test_audit_log_is_the_administrators)
test_audit_log_is_the_administrators() {
    assertEquals "mode of the audit log" 600 "$(stat -c %a "$(audit_log)")"
    assertEquals "lines that are no JSON objects" 0 "$(python3 -c '
import json, sys
print(sum(not isinstance(json.loads(line), dict) for line in sys.stdin))' < "$(audit_log)")"
}

# What an engine's own calls and answers decide: its API, its names, its images.
call_tests=(test_build_is_refused test_grpc_that_nobody_is_asked_about test_empty_call_with_a_content_type
    test_what_failed_is_not_taken_for_done test_white_space_around_a_name test_own_calls_carry_an_api_version
    test_host_access_that_is_allowed test_plugin_is_enabled_as_it_was_approved_and_not_otherwise test_unsigned_image_is_refused
    test_pull_of_all_tags_is_refused test_retagged_image_does_not_run test_loaded_image_does_not_run_under_a_signed_name
    test_image_by_id test_image_by_digest test_image_of_several_platforms test_container_without_an_image_is_refused
    test_every_api_version_is_judged test_padded_request_is_refused test_hidden_form_body_is_refused test_start_with_a_body_is_refused
    test_service_is_pinned_and_signed test_engine_restart_keeps_the_gate test_notary_down)

# shunit2 calls this, and then runs what it names besides the tests it finds by their names; where it finds any, it does not
# look for others, so all are named.
suite() {
    local name
    for name in test_docker_pull_is_allowed test_docker_run_is_allowed \
        test_pull_is_not_allowed_when_registry_is_not_authorized test_run_is_not_allowed_when_registry_is_not_authorized \
        test_pull_is_allowed_when_registry_is_authorized test_run_is_allowed_when_registry_is_authorized \
        test_pull_is_allowed_when_tag_not_specified test_run_is_allowed_when_tag_not_specified; do
        suite_addTest "$name"
    done
    if [[ -z ${RIG:-} ]]; then
        echo "RIG is not set: the eight tests of an installed plugin run, not the further ones of Makefile.test"
        return
    fi
    # Of three engines CI tries all on one, what depends on the engine and each attack on the next, a few on the third.
    case ${RIG_SAMPLE:-} in
    calls)
        for name in "${call_tests[@]}"; do
            declare -F "$name" > /dev/null || { echo "there is no test $name" >&2; exit 1; }
            suite_addTest "$name"
        done
        return
        ;;
    engine) ;;
    *) for name in "${gate_tests[@]}"; do suite_addTest "$name"; done ;;
    esac
    for name in "${further_tests[@]}" "${lock_tests[@]}" "${race_tests[@]}"; do suite_addTest "$name"; done
}

# shunit2 calls these around each test, the second one once more at the end.
setUp() {
    test_begun=$SECONDS
    refusals_since=$(audit_lines)
}
tearDown() {
    refusals_are_recorded
    # Where the time goes.
    printf '    (%d s)\n' $((SECONDS - test_begun))
}

[[ -t 1 ]] || export SHUNIT_COLOR=none
# shellcheck disable=SC1091  # Debian's package
. shunit2

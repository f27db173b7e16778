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
#   RIG               set by the rig alone: its scratch folder, and the sign that the further tests can run
#
# Each image needs an `echo`. They are removed from the host before they are pulled.

PLUGIN=${PLUGIN:-img-authz:latest}
if [[ -n ${RIG:-} ]]; then
    AUTHZ_IMG=registry.test:5000/app
    AUTHZ_IMG_TAG=registry.test:5000/app:1.0
    AUTHZ_IMG_FULL=registry.test:5000/tool:1.0
    UNAUTHZ_IMG=foreign.test:5001/app:1.0
    . "$RIG_TOOLS/images.sh"
fi
: "${AUTHZ_IMG:?}" "${AUTHZ_IMG_TAG:?}" "${AUTHZ_IMG_FULL:?}" "${UNAUTHZ_IMG:?}"

# The codes of refusals (docs/reasons.md), each spelled once.
registry_not_allowed=registry-not-allowed
no_trust_data=no-trust-data
not_signed=not-signed
content_mismatch=content-mismatch

# --- What is asserted ---

# The audit log of the plugin as it is now: its folder bears the plugin's id, which changes when it is created anew.
audit_log() {
    printf '%s\n' "${AUDIT_LOG:-$(docker info -f '{{.DockerRootDir}}')/plugins/$(
        docker plugin inspect -f '{{.Id}}' "$PLUGIN"
    )/propagated-mount/audit.jsonl}"
}

audit_lines() { wc -l < "$(audit_log)" 2> /dev/null || echo 0; }

# since LINES: what was recorded after so many lines
since() { tail -n "+$(($1 + 1))" "$(audit_log)"; }

# refused CODE COMMAND...: the command fails with a denial of this code, and the gate has it on record
refused() {
    local code=$1 output status=0 before denial
    shift
    before=$(audit_lines)
    output=$("$@" 2>&1) || status=$?
    assertNotEquals "exit status of: $*" 0 "$status"
    denial=$(sed -n "s/.*authorization denied by plugin ${PLUGIN//./\\\\.}: //p" <<< "$output")
    assertEquals "one denial by $PLUGIN for: $* -- $output" 1 "$(grep -c . <<< "$denial")" || return 1
    assertEquals "code of: $denial" "$code" "${denial%%: *}"
    assertTrue "evidence and remedy in: $denial" "[[ \$(cut -d: -f2- <<< ${denial@Q}) = ' '*?'; '?* ]]"
    assertTrue "under 300 characters: $denial" "((${#denial} < 300))"
    since "$before" | grep -q "\"$code\""
    assertEquals "the gate has recorded $code for: $*" 0 $?
}

# pulled REFERENCE: pulls it, though it is not on the host; the gate was asked
pulled() {
    local output status=0 before
    docker rmi -f "$1" > /dev/null 2>&1
    before=$(audit_lines)
    output=$(docker pull "$1" 2>&1) || status=$?
    assertEquals "docker pull $1: $output" 0 "$status"
    assertTrue "the gate has recorded the pull of $1" "(($(audit_lines) > before))"
    assertTrue "$1 is on the host" "docker image inspect $1"
}

# prints WORDS COMMAND...: the command succeeds and these words are its output
prints() {
    local words=$1 output status=0 before
    shift
    before=$(audit_lines)
    output=$("$@" 2> "$SHUNIT_TMPDIR/stderr") || status=$?
    assertEquals "exit status of: $* -- $(< "$SHUNIT_TMPDIR/stderr")" 0 "$status"
    assertEquals "output of: $*" "$words" "$output"
    assertTrue "the gate has recorded: $*" "(($(audit_lines) > before))"
}

run() { docker run --rm --network none "$@"; }

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

further_tests+=(test_retagged_image_does_not_run)
test_retagged_image_does_not_run() {
    make_image evil:1.0 evil > /dev/null
    docker tag evil:1.0 registry.test:5000/app:1.0
    refused $content_mismatch run registry.test:5000/app:1.0
    pulled registry.test:5000/app:1.0
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
}

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
    for name in "${further_tests[@]}"; do suite_addTest "$name"; done
}

[[ -t 1 ]] || SHUNIT_COLOR=none
# shellcheck disable=SC1091  # Debian's package
. shunit2

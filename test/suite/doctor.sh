# shellcheck shell=bash disable=SC2154
# `img-authz doctor` on a real engine: what it finds of a gate that is in force, and of one that has drifted away from that. Sourced
# by tests.sh, whose words it uses.

# examined [OPTION]: the host, where the engine runs
examined() {
    local command=("$RIG_TOOLS/../../plugin/rootfs/img-authz" doctor "$@")
    [[ -z ${RIG_TREE:-} ]] || command=("$RIG_TOOLS/tree.sh" beside "${command[@]}")
    # The rig's settings are not the gate's.
    env -u DOCKER_CONFIG "${command[@]}"
}

doctor() {
    examined --json > "$SHUNIT_TMPDIR/doctor.json"
    doctor_status=$?
    tell_findings
}

# The same in the plugin's own namespaces, with its own settings.
doctor_in_the_gate() {
    local pid settings
    pid=$(plugin_pid)
    mapfile -d '' settings < "/proc/$pid/environ"
    env -i "${settings[@]}" /usr/bin/nsenter --target "$pid" --mount --net --pid --root --wd -- /img-authz doctor --json \
        > "$SHUNIT_TMPDIR/doctor.json"
    doctor_status=$?
    tell_findings
}

tell_findings() {
    findings=$(python3 -c '
import json, sys
for finding in json.load(sys.stdin):
    print(finding["severity"], finding["id"], finding["evidence"])' < "$SHUNIT_TMPDIR/doctor.json")
    grep -v '^ok ' <<< "$findings" | sed 's/^/    /'
}

# found SEVERITY ID...: each of them, of this severity
found() {
    local severity=$1 id
    shift
    for id; do
        grep -q "^$severity $id " <<< "$findings"
        assertTrue "$severity $id" $?
    done
}

# not_found BEGINNING...: no finding begins so: with a severity, or a severity and an id
not_found() {
    local beginning
    for beginning; do assertEquals "" "$(grep "^$beginning " <<< "$findings")"; done
}

further_tests+=(test_doctor_finds_the_gate_in_force)
test_doctor_finds_the_gate_in_force() {
    in_posture_images
    docker_signed
    doctor
    found ok in-chain plugin daemon-json notary registry settings state-folder audit-log listeners grpc-unasked
    not_found critical warning
    assertEquals "exit code" 0 "$doctor_status"
    assertContains "$(examined)" "This host is protected as far as can be seen."
    # Of the engine's known holes, those that it has.
    if hides_large_bodies; then found info cve-2026-34040; else not_found 'info cve-2026-34040'; fi
    not_found 'info cve-2024-41110'

    # From inside, it sees less, and calls nothing bad for that.
    doctor_in_the_gate
    found ok in-chain plugin daemon-json notary registry settings state-folder audit-log grpc-unasked
    found info listeners-unknown engine-socket
    not_found critical warning
    assertEquals "exit code" 0 "$doctor_status"
}

further_tests+=(test_doctor_finds_a_gate_that_is_not_asked)
test_doctor_finds_a_gate_that_is_not_asked() {
    docker plugin disable "$PLUGIN" > /dev/null
    doctor
    found critical plugin-disabled not-in-chain
    docker plugin enable "$PLUGIN" > /dev/null
    doctor
    found ok plugin daemon-json
    found critical not-in-chain
    assertEquals "exit code" 2 "$doctor_status"
    assertContains "$(examined)" "This host is not protected as it should be: 1 critical"
    engine gate "$PLUGIN"
    doctor
    found ok in-chain
    not_found critical

    engine gate none
    doctor
    found critical not-in-chain
    engine gate "$PLUGIN"
    # Still asked, and not after the engine's next start.
    cp /etc/docker/daemon.json "$SHUNIT_TMPDIR/daemon.json"
    sed 's/authorization-plugins/authorization-plugin/' "$SHUNIT_TMPDIR/daemon.json" > /etc/docker/daemon.json
    doctor
    found ok in-chain
    found critical daemon-json-key-typo
    assertEquals "exit code" 2 "$doctor_status"
    cp "$SHUNIT_TMPDIR/daemon.json" /etc/docker/daemon.json
    doctor
    not_found critical
}

further_tests+=(test_doctor_finds_what_weakens_the_gate)
test_doctor_finds_what_weakens_the_gate() {
    local shadow stranger
    # A socket of the same name, which takes over where the managed plugin is gone.
    shadow=/run/docker/plugins/${PLUGIN%:*}.sock
    mkdir -p "${shadow%/*}"
    python3 -c 'import socket, sys, time
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen(); time.sleep(300)' "$shadow" &
    wait_until 10 test -S "$shadow"
    doctor
    found warning plugin-shadowed
    assertEquals "exit code" 2 "$doctor_status"
    kill $!
    wait $! 2> /dev/null
    rm "$shadow"
    doctor
    not_found 'warning plugin-shadowed'

    # A container that runs since before the gate.
    stranger=$(before_the_gate unapproved_container)
    doctor
    found warning running-unapproved
    docker rm -f "$stranger" > /dev/null
    doctor
    not_found 'warning running-unapproved'

    reconfigure MODE=permissive
    doctor
    found warning mode-permissive
    reconfigure MODE=
    # Where nothing is known that may still be used it would be critical: nothing starts.
    docker_signed
    pulled registry.test:5000/app:1.0
    unplug_notary
    doctor
    found warning notary-unreachable
    found ok in-chain
    plug_notary
    doctor
    not_found critical warning
}

unapproved_container() { docker run -d --network none "$(evil)" sleep 300; }

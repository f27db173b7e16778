# shellcheck shell=bash disable=SC2154
# Containers that run and that nobody asked about: found, and stopped where that is set. On a real engine. Sourced by tests.sh, whose
# words it uses.

monitor_list=/etc/docker/img-authz/allowlist.json

# runs NAME: it does
runs() { [[ $(docker inspect -f '{{.State.Running}}' "$1" 2> /dev/null) = true ]]; }

stopped() { ! runs "$1"; }

# lasting NAME IMAGE: one that the engine starts again by itself
lasting() { docker run -d --name "$1" --network none --restart always "$2" sleep 3600 > /dev/null; }

# approve_all: an allowlist with both images in force
approve_all() {
    gate_says register --from-registry --yes registry.test:5000/app:1.0 registry.test:5000/tool:1.0 > /dev/null
}

# withdraw TAG: its approval is taken back, by an edit of the allowlist as any other program makes it
withdraw() {
    python3 - $monitor_list "$1" << 'END'
import json, os, sys
path, tag = sys.argv[1:]
listed = json.load(open(path))
listed["entries"] = [entry for entry in listed["entries"] if tag not in entry["references"]]
with open(path + ".new", "w") as new:
    json.dump(listed, new)
os.chmod(path + ".new", 0o644)
os.rename(path + ".new", path)
END
}

# shows TEXT...: `monitor status` has all of these
shows() {
    local said text
    said=$(gate_says monitor status)
    for text; do [[ $said = *"$text"* ]] || return 1; done
}

# told MESSAGE: what was done just now succeeded; if it did not, with what the monitor says. Its own exit code says something else
told() {
    local status=$?
    assertTrue "$1: $(gate_says monitor status)" $status
}

# container_entry LINES EVENT NAME: it is on record
container_entry() { recorded "$1" "\"event\":\"$2\"" "\"container_name\":\"$3\""; }

# seen_by_status_and_page NAME CODE: the running gate says so at its own socket, and on its page to who has the token
seen_by_status_and_page() {
    local said status=0 page token
    said=$(gate_says status --json) || status=$?
    assertEquals "status has something to see to: $said" 2 "$status"
    status=0
    python3 - "$1" "$2" <(printf '%s' "$said") << 'END' || status=$?
import json, sys
name, code, path = sys.argv[1:]
said = json.load(open(path))
assert [(found["name"], found["code"]) for found in said["running"]["findings"]] == [(name, code)], said["running"]
assert any(event["event"] == "UNAPPROVED" for event in said["events"])
assert said["decided"]["allowed"] > 0 and any(image["verdict"] == "allowed" for image in said["host"]["images"])
END
    assertEquals "status shows $1, and what led there" 0 "$status"
    said=$(gate_says status)
    assertContains "and for people" "$said" "2 containers, 1 of them unapproved"
    token=$(< "$(dirname "$(audit_log)")/web-token")
    page=$(curl -s -m 20 -H "Authorization: Bearer $token" http://127.0.0.1:9180/containers)
    assertContains "the page shows $1" "$page" "$1"
    assertContains "and why" "$page" "$2"
    page=$(curl -s -m 20 -o /dev/null -w '%{http_code}' http://127.0.0.1:9180/containers)
    assertEquals "to nobody without the token" 401 "$page"
    page=$(curl -s -m 20 -H "Authorization: Bearer $token" http://127.0.0.1:9180/metrics)
    assertContains "the figures too" "$page" "img_authz_monitor_unapproved 1"
}

gate_tests+=(test_monitor_stops_what_the_engine_restarted_after_its_approval_was_withdrawn)
test_monitor_stops_what_the_engine_restarted_after_its_approval_was_withdrawn() {
    local app=registry.test:5000/app:1.0 tool=registry.test:5000/tool:1.0 before began id figures
    mkdir -p ${monitor_list%/*}
    approve_all
    reconfigure MONITOR=report MONITOR_PAUSE=0 WEB=127.0.0.1:9180
    pulled $app
    pulled $tool
    lasting kept $app
    lasting withdrawn $tool
    wait_until 10 shows '2 containers run, 0 of them unapproved'
    told "both are approved"

    # A start that is approved is no finding; a withdrawal is one within two seconds, and only reported.
    before=$(audit_lines)
    began=$(date +%s%N)
    withdraw $tool
    wait_until 10 container_entry "$before" UNAPPROVED withdrawn
    assertTrue "the withdrawal is found" $?
    echo "found $((($(date +%s%N) - began) / 1000000)) ms after the approval was taken back"
    recorded "$before" '"event":"UNAPPROVED"' '"code":"not-in-allowlist"' "\"container_id\":\"$(docker inspect -f '{{.Id}}' withdrawn)\""
    assertTrue "with why, and its whole id" $?
    wait_until 5 shows 'not-in-allowlist' '2 containers run, 1 of them unapproved; these are reported'
    told "status shows it"
    seen_by_status_and_page withdrawn not-in-allowlist
    sleep 3
    runs withdrawn
    assertTrue "it was only reported" $?

    # The engine starts both again without asking anybody; now it is to be stopped.
    reconfigure MONITOR=stop
    wait_until 15 stopped withdrawn
    docker update --restart no withdrawn > /dev/null
    docker start kept > /dev/null
    id=$(docker inspect -f '{{.Id}}' withdrawn)
    before=$(audit_lines)
    engine restart
    wait_until 10 shows '1 containers run, 0 of them unapproved; these are stopped'
    told "what was stopped stays so, and is no finding"
    runs kept
    assertTrue "the approved one runs on" $?
    figures=$(grep -c '"event":"STOPPED"' "$(audit_log)")
    assertEquals "stopped once" 1 "$figures"
    grep -F '"event":"STOPPED"' "$(audit_log)" | grep -qF "\"container_id\":\"$id\""
    assertTrue "and recorded by its id" $?
    docker rm -f kept withdrawn > /dev/null
    rm -f $monitor_list
    reconfigure MONITOR= MONITOR_PAUSE= WEB=
}

gate_tests+=(test_monitor_finds_what_a_restart_of_the_engine_began)
test_monitor_finds_what_a_restart_of_the_engine_began() {
    local app=registry.test:5000/app:1.0 tool=registry.test:5000/tool:1.0 before state
    mkdir -p ${monitor_list%/*}
    approve_all
    reconfigure MONITOR=stop MONITOR_PAUSE=0
    pulled $app
    pulled $tool
    lasting kept $app
    lasting withdrawn $tool
    wait_until 10 shows '2 containers run, 0 of them unapproved'
    before=$(audit_lines)
    state=$(dirname "$(audit_log)")
    engine stop
    # While nobody looks. What an earlier test has stopped would count for ten minutes, also for the next process.
    grep -q '"acts"' "$state/monitor.json" && rm "$state/monitor.json"
    assertTrue "the monitor remembers across restarts" $?
    withdraw $tool
    engine start
    wait_until 15 stopped withdrawn
    told "what the engine began is stopped"
    runs kept
    assertTrue "the approved one beside it runs on" $?
    container_entry "$before" STOPPED withdrawn
    assertTrue "recorded" $?
    shows 'acted on withdrawn'
    told "and shown"
    docker rm -f kept withdrawn > /dev/null
    rm -f $monitor_list
    reconfigure MONITOR= MONITOR_PAUSE=
}

# By night: what it decides, unit tests have.
[[ -n ${CI:-} ]] || gate_tests+=(test_monitor_waits_for_the_operator_where_it_is_too_much_at_once)
test_monitor_waits_for_the_operator_where_it_is_too_much_at_once() {
    local app=registry.test:5000/app:1.0 tool=registry.test:5000/tool:1.0 before number said
    mkdir -p ${monitor_list%/*}
    approve_all
    reconfigure MONITOR=stop MONITOR_PAUSE=0 ON_OUTAGE=deny FRESHNESS=0
    pulled $app
    pulled $tool
    lasting kept $app
    for number in 1 2 3; do lasting many-$number $tool; done

    # What cannot be told is not touched.
    unplug_notary
    wait_until 90 shows 'cannot tell: trust-unreachable'
    told "nobody can tell"
    sleep 3
    for number in 1 2 3; do runs many-$number; done
    assertTrue "none is touched" $?
    plug_notary
    wait_until 60 shows '4 containers run, 0 of them unapproved'

    before=$(audit_lines)
    withdraw $tool
    wait_until 30 shows '3 wait for you'
    told "too many at once"
    recorded "$before" '"event":"HELD"' '3 run unapproved, and at most 1'
    assertTrue "recorded" $?
    sleep 3
    runs many-1 && runs many-2 && runs many-3
    assertTrue "none is touched" $?
    said=$(gate_says monitor approve --yes)
    assertContains "it shows which: $said" "$said" many-2
    wait_until 30 stopped many-1 && wait_until 30 stopped many-2 && wait_until 30 stopped many-3
    told "and they are stopped"
    runs kept
    assertTrue "and no other" $?
    recorded "$before" '"event":"CHANGED"' '"action":"monitor-approve"'
    assertTrue "who let that happen is on record" $?
    docker rm -f kept many-1 many-2 many-3 > /dev/null
    rm -f $monitor_list
    reconfigure MONITOR= MONITOR_PAUSE= ON_OUTAGE= FRESHNESS=
}

# alone FOLDER FLAG...: the monitor of a host without a gate, once, with a state folder of its own
alone() {
    mkdir -p "$1"
    STATE_DIR=$1 CONFIG_DIR=$1 REGISTRY=registry.test:5000 NOTARY=off MONITOR_PAUSE=0 "$policy_program" monitor --once "${@:2}" 2>&1
}

# By night: what it decides, unit tests have.
[[ -n ${CI:-} ]] || gate_tests+=(test_monitor_by_itself_does_what_its_flags_say)
test_monitor_by_itself_does_what_its_flags_say() {
    local said folder=$SHUNIT_TMPDIR/monitor status=0
    evil > /dev/null
    engine gate none
    docker run -d --name stranger --network none -v kept-volume:/v evil:1.0 sleep 3600 > /dev/null
    said=$(alone "$folder-1" --allow-unregistered) || status=$?
    assertEquals "found: $said" 2 $status
    assertContains "it says what it does" "$said" "it is reported, and nothing is done"
    assertContains "and what it found" "$said" "1 run unapproved"
    runs stranger
    assertTrue "it runs on" $?
    said=$(alone "$folder-2" --safe-mode)
    stopped stranger
    assertTrue "stopped: $said" $?
    grep -q '"event":"STOPPED".*"code":"registry-not-allowed"' "$folder-2/audit.jsonl"
    assertTrue "recorded" $?
    docker start stranger > /dev/null
    said=$(alone "$folder-2" --safe-mode)
    runs stranger
    assertTrue "one within ten minutes, on so small a host: $said" $?
    said=$(alone "$folder-3")
    assertFalse "stopped and removed: $said" "docker inspect stranger"
    assertTrue "its volume stays" "docker volume inspect kept-volume"
    docker volume rm kept-volume > /dev/null
    engine gate "$PLUGIN"
}

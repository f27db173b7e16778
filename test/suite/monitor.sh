# shellcheck shell=bash disable=SC2154
# Containers that run and that nobody asked about: found, and stopped where that is set. On a real engine. Sourced by tests.sh, whose
# words it uses.

monitor_list=/etc/docker/img-authz/allowlist.json

# runs NAME: it does
runs() { [[ $(docker inspect -f '{{.State.Running}}' "$1" 2> /dev/null) = true ]]; }

stopped() { ! runs "$1"; }

# lasting NAME IMAGE: one that the engine starts again by itself, and that ends as soon as it is told to: `sleep` alone would not
lasting() { docker run -d --name "$1" --network none --restart always --stop-signal KILL "$2" sleep 3600 > /dev/null; }

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

# task_of SERVICE [OTHER]: the whole id of the container that runs for it, and is another than that
task_of() {
    local id
    id=$(docker ps --no-trunc -q -f status=running -f "label=com.docker.swarm.service.name=$1" | head -n 1)
    [[ -n $id && $id != "${2:-}" ]] && printf '%s\n' "$id"
}

# found_after LINES ID: milliseconds from the start of a container to the entry that it runs unapproved
found_after() {
    tail -n "+$(($1 + 1))" "$(audit_log)" | python3 -c '
import datetime, json, sys
at = lambda text: datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00")
entries = [json.loads(line) for line in sys.stdin]
found = [entry for entry in entries if entry["event"] == "UNAPPROVED" and entry.get("container_id") == sys.argv[1]]
print(int((at(found[0]["timestamp"]) - at(sys.argv[2])).total_seconds() * 1000) if found else "never")' \
        "$2" "$(docker inspect -f '{{.State.StartedAt}}' "$2")"
}

# The swarm starts tasks by itself, and would start another in the place of one that is stopped.
gate_tests+=(test_monitor_finds_a_task_of_the_swarm_and_leaves_it_to_its_service)
test_monitor_finds_a_task_of_the_swarm_and_leaves_it_to_its_service() {
    local tool=registry.test:5000/tool:1.0 begin before first second millis
    mkdir -p ${monitor_list%/*}
    approve_all
    reconfigure MONITOR=remove MONITOR_PAUSE=0
    pulled $tool
    docker swarm init --advertise-addr 127.0.0.1 > /dev/null
    docker service create --quiet --detach --name shop --network host --restart-delay 0s --no-resolve-image \
        "$tool@$(registry_digest tool 1.0)" sleep 3600 > /dev/null
    wait_until 20 task_of shop > /dev/null
    first=$(task_of shop)
    wait_until 10 shows '1 containers run, 0 of them unapproved'
    told "its task is approved"
    begin=$(audit_lines)
    withdraw $tool
    wait_until 5 recorded "$begin" '"event":"UNAPPROVED"' "\"container_id\":\"$first\""
    told "the withdrawal is found"

    # It ends, and the swarm begins another one without asking.
    before=$(audit_lines)
    docker kill "$first" > /dev/null
    wait_until 20 task_of shop "$first" > /dev/null
    second=$(task_of shop "$first")
    wait_until 5 recorded "$before" '"event":"UNAPPROVED"' "\"container_id\":\"$second\""
    told "the next task is found"
    millis=$(found_after "$before" "$second")
    echo "found $millis ms after the task's start"
    assertTrue "within two seconds: $millis" "((millis < 2000))"
    wait_until 5 shows 'shop' 'docker service'
    told "and told by its service"
    sleep 3
    assertEquals "it was not touched" "$second" "$(task_of shop)"
    recorded "$begin" '"event":"HELD"' 'it is a task of service'
    assertTrue "why is on record" $?
    recorded "$begin" '"event":"STOPPED"' || recorded "$begin" '"event":"REMOVED"'
    assertFalse "nothing was done" $?
    docker service rm shop > /dev/null
    docker swarm leave --force > /dev/null
    rm -f $monitor_list
    reconfigure MONITOR= MONITOR_PAUSE=
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

# arrived NAME TEXT...: status says all of these of the image that arrived under this name
arrived() {
    local said text
    said=$(gate_says status --json | python3 -c '
import json, sys
images = json.load(sys.stdin)["arrived"]["images"]
print(*(json.dumps(image) for image in images if image["name"].endswith(sys.argv[1])))' "$1")
    for text in "${@:2}"; do [[ $said = *"$text"* ]] || return 1; done
}

# Thousands of labels, as JSON members of a configuration.
labels() { python3 -c 'import json; print("\"Labels\":", json.dumps({f"l{number}": "x" for number in range(5000)}))'; }

gate_tests+=(test_monitor_audits_what_arrives_in_the_background)
test_monitor_audits_what_arrives_in_the_background() {
    local before began
    before=$(audit_lines)
    began=$(date +%s%N)
    IMAGE_CONFIG='"Env": ["DB_PASSWORD=hunter2"], "ExposedPorts": {"22/tcp": {}}' make_image weak:1.0 "weak" > /dev/null
    wait_until 10 recorded "$before" '"event":"AUDITED"' 'weak:1.0"' '"secrets"' '"exposed-ports"' '"user-root"'
    assertTrue "what was loaded is audited" $?
    echo "audited $((($(date +%s%N) - began) / 1000000)) ms after the load began"
    wait_until 10 arrived weak:1.0 secrets DB_PASSWORD
    assertTrue "status shows it" $?
    grep -q hunter2 "$(audit_log)"
    assertFalse "and nothing shows the secret" $?

    # One of which the engine says too much is told as that, here and where it is to run.
    IMAGE_CONFIG=$(labels) make_image registry.test:5000/many:1.0 "many" > /dev/null
    wait_until 10 recorded "$before" '"event":"AUDITED"' 'many:1.0"' 'more than 4096 labels'
    assertTrue "it cannot be judged, and is told" $?
    refused image-too-large run registry.test:5000/many:1.0

    # The same once more is nothing new.
    before=$(audit_lines)
    IMAGE_CONFIG='"Env": ["DB_PASSWORD=hunter2"], "ExposedPorts": {"22/tcp": {}}' make_image weak:1.0 "weak" > /dev/null
    IMAGE_CONFIG='"User": "1000"' make_image last:1.0 "last" > /dev/null
    wait_until 10 recorded "$before" '"event":"AUDITED"' 'last:1.0"'
    assertTrue "the next is audited" $?
    recorded "$before" '"event":"AUDITED"' 'weak:1.0"'
    assertFalse "the same is not" $?
    docker rmi -f weak:1.0 registry.test:5000/many:1.0 last:1.0 > /dev/null
}

# shellcheck shell=bash disable=SC2154
# Faults, one at a time, on a real engine: docs/faults.md says of each what a pull and a run come to, and within what time; a test here
# bears its name, reads its row and tries it. Under each fault nothing unapproved may start, no call may go unanswered, containers are
# listed, and the gate's log holds no crash. Sourced by tests.sh, whose words it uses; `make -f Makefile.test chaos`.
#
# Here the gate is a program of its own, with Notary, a registry and the engine behind proxies (test/suite/faults.py): so its state folder,
# limits and clock are ours. What needs the managed plugin says so.

chaos=$RIG/chaos
chaos_table=$RIG_TOOLS/../../docs/faults.md
chaos_socket=/run/docker/plugins/chaos.sock
chaos_log=$RIG/log/chaos.log
chaos_gate=$RIG_TOOLS/../../plugin/rootfs/img-authz
# Dynamically linked, of the same sources: a clock can be put before it, which a static program reads without asking anyone.
chaos_dynamic=$RIG_TOOLS/../../target/debug/img-authz
chaos_signed=registry.test:5000/app:1.0
# Longest that containers may take to be listed under a fault, milliseconds. The machine has two cores, the client counts as well.
chaos_listed=1500
# Longest until all is well again once a fault is over, seconds: a server that was gone is asked again at most 30 s later.
chaos_well=40

process() { "$RIG_TOOLS/service.sh" "$@"; }

# --- The parts ---

# misbehave PROXY [MODE [PATH]]: how it is from now on
misbehave() { printf '%s\n' "${*:2}" > "$chaos/$1"; }

# proxy NAME LISTEN TARGET [TLS-FILE...]
proxy() {
    misbehave "$1" pass
    process start "proxy-$1" python3 "$RIG_TOOLS/../suite/faults.py" "$chaos/$1" "${@:2}"
}

# expired REQUEST HOST FILE: a certificate of the rig's authority that was good for a month in 2020
expired() {
    mkdir -p "$chaos/ca"
    : > "$chaos/ca/index.txt"
    printf '%s\n' '[ca]' 'default_ca = d' '[d]' "database = $chaos/ca/index.txt" "new_certs_dir = $chaos/ca" 'rand_serial = yes' \
        'default_md = sha256' 'policy = p' '[p]' 'commonName = supplied' > "$chaos/ca/config"
    openssl ca -batch -notext -config "$chaos/ca/config" -cert "$RIG/pki/ca.crt" -keyfile "$RIG/pki/ca.key" \
        -startdate 20200101000000Z -enddate 20200201000000Z -in "$1" -extfile <(printf 'subjectAltName=DNS:%s\n' "$2") \
        -out "$3" 2> "$RIG/log/openssl.log" || cat "$RIG/log/openssl.log"
}

proxies() {
    proxy notary notary.test:4444 notary.test:4443 "$RIG/pki/notary.crt" "$RIG/pki/notary.key" "$chaos/notary.crt" "$RIG/pki/ca.crt"
    proxy registry registry.test:5002 registry.test:5000 "$RIG/pki/registry.crt" "$RIG/pki/registry.key" "$chaos/registry.crt" \
        "$RIG/pki/ca.crt"
    proxy engine "$chaos/engine.sock" /run/docker.sock
    wait_until 10 curl -sf --cacert "$RIG/pki/ca.crt" https://registry.test:5002/v2/ > /dev/null
}

# Once: proxies, images, and a container that is older than the gate, of an image that nobody vouches for.
prepare_chaos() {
    local host
    [[ ! -e $chaos/prepared ]] || return 0
    mkdir -p "$chaos"
    touch "$chaos/prepared"
    for host in notary registry; do expired "$RIG/pki/$host.csr" "$host.test" "$chaos/$host.crt"; done
    mkdir -p /etc/docker/certs.d/registry.test:5002
    cp "$RIG/pki/ca.crt" /etc/docker/certs.d/registry.test:5002/
    proxies
    docker_signed
    pulled registry.test:5000/tool:1.0
    engine gate none
    evil > /dev/null
    docker create --name stranger --network none evil:1.0 > /dev/null
    docker tag registry.test:5000/tool:1.0 registry.test:5000/slow:1.0
    docker pull -q registry.test:5002/app:1.0 > /dev/null
    engine gate "$PLUGIN"
}

# begin [NAME=VALUE...]: the gate in force, with these settings besides, within the limits of a command in `limited`
limited=()
begin() {
    prepare_chaos
    misbehave notary pass
    misbehave registry pass
    misbehave engine pass
    : > "$chaos_log"
    # What one fault leaves behind is not the next one's.
    rm -rf "${chaos:?}"/state/*
    serve "$@" || return
    PLUGIN=chaos AUDIT_LOG=$chaos_state/audit.jsonl
    engine gate chaos
    wait_until 10 test -s "$AUDIT_LOG"
}

serve() {
    chaos_state=$chaos/state
    # What the plugin's environment has besides settings.
    process start chaos "${limited[@]}" env -i MALLOC_MMAP_THRESHOLD_=131072 REGISTRY=registry.test:5000 NOTARY=https://notary.test:4444 \
        NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")" FRESHNESS=0 ALLOWLIST=off DOCKER_HOST="unix://$chaos/engine.sock" \
        STATE_DIR="$chaos_state" "$@" "${chaos_program:-$chaos_gate}" serve --socket "$chaos_socket"
    wait_until 10 curl -sf --unix-socket "$chaos_socket" -X POST http://gate/Plugin.Activate > /dev/null
    local listens=$?
    assertTrue "the gate listens: $(tail -n 5 "$chaos_log")" $listens
}

gate_pid() { cat "$RIG/pid/chaos"; }

# The fault is over: all is well again, and the gate's log has no crash. Then the managed plugin is in force again.
end() {
    misbehave notary pass
    misbehave registry pass
    misbehave engine pass
    wait_until "$chaos_well" is_well
    assertTrue "all is well again within $chaos_well s" $?
    engine gate none
    process stop chaos
    unset AUDIT_LOG
    PLUGIN=img-authz:latest
    engine gate "$PLUGIN"
    grep -E 'panicked|RUST_BACKTRACE|stack overflow|fault of its own' "$chaos_log"
    assertFalse "a crash in the gate's log" $?
}

is_well() { docker pull -q "${chaos_pulled:-$chaos_signed}" > /dev/null 2>&1 && run "${chaos_pulled:-$chaos_signed}" > /dev/null 2>&1; }

# --- What is tried under a fault ---

# within WHAT MILLISECONDS COMMAND...: it is answered by then. Leaves what was said in `output`, the exit status in `status`
within() {
    local what=$1 bound=$2 begun=${EPOCHREALTIME/./} took
    shift 2
    status=0
    output=$("$@" 2>&1) || status=$?
    took=$(((${EPOCHREALTIME/./} - begun) / 1000))
    printf '    %5d ms  %-17s %s\n' "$took" "$what" "$(grep -v "^See '" <<< "$output" | tail -n 1 | cut -c 1-200)"
    assertTrue "$what within $bound ms: it took $took" "((took <= bound))"
}

# comes_to WORDS MILLISECONDS COMMAND...: `ok`, or codes of which its refusal has one
comes_to() {
    local words=$1 code
    shift
    within "${words%% *}" "$@"
    shift
    if [[ $words = ok ]]; then
        assertEquals "exit status of: $* -- $output" 0 "$status"
        return
    fi
    assertNotEquals "exit status of: $* -- $output" 0 "$status"
    code=$(sed -n "s/.*authorization denied by plugin $PLUGIN: \([a-z-]*\): .*/\1/p" <<< "$output" | head -n 1)
    [[ " $words " = *" ${code:-none} "* ]]
    assertTrue "refused with one of: $words -- $output" $?
}

# attack COMMAND...: it does not succeed, and dockerd's answer is a refusal
attack() {
    local said status=0
    said=$("$@" 2>&1) || status=$?
    [[ $said = *"authorization denied by plugin"* || $said = *"plugin $PLUGIN failed"* ]] || echo "not refused ($status): $* -- $said"
}

attacks() {
    local command=(docker create --network none)
    {
        attack docker start stranger & attack api POST /containers/stranger/restart & attack "${command[@]}" evil:1.0 &
        attack "${command[@]}" "$chaos_evil" & attack docker pull -q registry.test:5000/plain:1.0 &
        attack docker pull -q foreign.test:5001/app:1.0 & attack run "$chaos_evil" &
        wait
    } > "$SHUNIT_TMPDIR/attacks" 2>&1
}

# unapproved MILLISECONDS: nothing unapproved starts, each try is answered by then; containers are listed meanwhile
unapproved() {
    local begun=${EPOCHREALTIME/./} took asked longest=0 listed=0 trying
    chaos_evil=$(docker image inspect -f '{{.Id}}' evil:1.0)
    attacks &
    trying=$!
    while kill -0 $trying 2> /dev/null; do
        asked=${EPOCHREALTIME/./}
        api GET /containers/json -f > /dev/null && listed=$((listed + 1))
        asked=$(((${EPOCHREALTIME/./} - asked) / 1000))
        ((asked <= longest)) || longest=$asked
        sleep 0.05
    done
    wait $trying
    took=$(((${EPOCHREALTIME/./} - begun) / 1000))
    printf '    %5d ms  seven calls of what nobody approved; containers listed %d times, in at most %d ms\n' "$took" "$listed" "$longest"
    assertEquals "what nobody approved is refused" "" "$(< "$SHUNIT_TMPDIR/attacks")"
    assertTrue "all answered within $1 ms: $took" "((took <= $1))"
    assertTrue "containers are listed ($listed times) within $chaos_listed ms: $longest" "((listed > 0 && longest <= chaos_listed))"
    never_started
}

never_started() {
    assertContains "the stranger has never started" "$(docker inspect -f '{{.State.StartedAt}}' stranger)" 0001-01-01
    assertEquals "containers of it" stranger "$(docker ps -a --filter ancestor=evil:1.0 --format '{{.Names}}' | xargs)"
}

# faulted FAULT: what its row says, tried
faulted() {
    local pull run seconds
    IFS='|' read -r _ _ _ pull run seconds _ < <(grep -F "| \`$1\` |" "$chaos_table" | tr -d '`')
    assertNotNull "docs/faults.md has a row for $1" "${seconds:-}"
    read -r pull <<< "$pull"; read -r run <<< "$run"; read -r seconds _ <<< "$seconds"
    [[ $pull = - ]] || comes_to "${pull// or / }" $((seconds * 1000)) docker pull -q "${chaos_pulled:-$chaos_signed}"
    [[ $run = - ]] || comes_to "${run// or / }" $((seconds * 1000)) run "${chaos_pulled:-$chaos_signed}"
    unapproved $((seconds * 1000))
}

# --- Notary, registries ---

# notary_misbehaves FAULT MODE [PATH]: what the gate was told before, it knows
notary_misbehaves() {
    begin || return
    is_well
    assertTrue "all is well at first" $?
    misbehave notary "${@:2}"
    faulted "$1"
    # Again, now that the gate knows.
    faulted "$1"
    end
}

chaos_tests+=(test_fault_notary_silent)
test_fault_notary_silent() { notary_misbehaves notary-silent silent; }
chaos_tests+=(test_fault_notary_hangs)
test_fault_notary_hangs() { notary_misbehaves notary-hangs hang; }
chaos_tests+=(test_fault_notary_drips)
test_fault_notary_drips() { notary_misbehaves notary-drips drip; }
chaos_tests+=(test_fault_notary_hangs_for_one)
test_fault_notary_hangs_for_one() { notary_misbehaves notary-hangs-for-one hang registry.test:5000/app; }
chaos_tests+=(test_fault_notary_drips_for_one)
test_fault_notary_drips_for_one() { notary_misbehaves notary-drips-for-one drip registry.test:5000/app; }
chaos_tests+=(test_fault_notary_resets)
test_fault_notary_resets() { notary_misbehaves notary-resets reset; }
chaos_tests+=(test_fault_notary_cut)
test_fault_notary_cut() { notary_misbehaves notary-cut cut; }
chaos_tests+=(test_fault_notary_garbage)
test_fault_notary_garbage() { notary_misbehaves notary-garbage garbage; }
chaos_tests+=(test_fault_notary_endless)
test_fault_notary_endless() { notary_misbehaves notary-endless endless; }
chaos_tests+=(test_fault_notary_error)
test_fault_notary_error() { notary_misbehaves notary-error error; }
chaos_tests+=(test_fault_notary_busy)
test_fault_notary_busy() { notary_misbehaves notary-busy busy; }
chaos_tests+=(test_fault_notary_certificate_expired)
test_fault_notary_certificate_expired() { notary_misbehaves notary-certificate-expired expired; }

chaos_tests+=(test_fault_notary_gone)
test_fault_notary_gone() {
    begin || return
    is_well
    process stop proxy-notary
    faulted notary-gone
    faulted notary-gone
    proxies
    end
}

# registry_misbehaves FAULT MODE: where nobody but the registry vouches
registry_misbehaves() {
    local chaos_pulled=registry.test:5002/app:1.0
    begin REGISTRY=registry.test:5002 NOTARY=off || return
    misbehave registry "$2"
    faulted "$1"
    end
}

chaos_tests+=(test_fault_registry_hangs)
test_fault_registry_hangs() { registry_misbehaves registry-hangs hang; }
chaos_tests+=(test_fault_registry_drips)
test_fault_registry_drips() { registry_misbehaves registry-drips drip; }
chaos_tests+=(test_fault_registry_resets)
test_fault_registry_resets() { registry_misbehaves registry-resets reset; }
chaos_tests+=(test_fault_registry_garbage)
test_fault_registry_garbage() { registry_misbehaves registry-garbage garbage; }
chaos_tests+=(test_fault_registry_endless)
test_fault_registry_endless() { registry_misbehaves registry-endless endless; }
chaos_tests+=(test_fault_registry_certificate_expired)
test_fault_registry_certificate_expired() { registry_misbehaves registry-certificate-expired expired; }

# --- The engine's socket, as the gate sees it ---

engine_misbehaves() {
    begin || return
    is_well
    misbehave engine "$2"
    faulted "$1"
    end
}

chaos_tests+=(test_fault_engine_hangs)
test_fault_engine_hangs() { engine_misbehaves engine-hangs hang; }
chaos_tests+=(test_fault_engine_slow)
test_fault_engine_slow() { engine_misbehaves engine-slow slow; }
chaos_tests+=(test_fault_engine_drips)
test_fault_engine_drips() { engine_misbehaves engine-drips drip; }
chaos_tests+=(test_fault_engine_garbage)
test_fault_engine_garbage() { engine_misbehaves engine-garbage garbage; }
chaos_tests+=(test_fault_engine_endless)
test_fault_engine_endless() { engine_misbehaves engine-endless endless; }

chaos_tests+=(test_fault_engine_dead)
test_fault_engine_dead() {
    begin || return
    process stop proxy-engine
    faulted engine-dead
    proxies
    end
}

# --- The state folder, the audit log ---

# noted TEXT: a line of the audit log that says so, within three seconds
noted() {
    wait_until 3 grep -qF -- "$1" "$AUDIT_LOG"
    assertTrue "the audit log says: $1" $?
}

# On a file system of its own, of 4 MiB.
begin_on_a_small_disk() {
    mkdir -p "$chaos/state"
    mount -t tmpfs -o size=4m tmpfs "$chaos/state"
    begin || return
    is_well
}

end_on_a_small_disk() {
    end
    umount "$chaos/state"
}

chaos_tests+=(test_fault_disk_full)
test_fault_disk_full() {
    begin_on_a_small_disk || return
    cat /dev/zero > "$chaos/state/filler" 2> /dev/null
    faulted disk-full
    # A restarted gate could not know of it.
    docker create --name box --network none "$chaos_signed" > /dev/null
    comes_to state-unwritable 2000 docker rename box other
    rm "$chaos/state/filler"
    noted 'could not be written'
    comes_to ok 2000 docker rename box other
    docker rm other > /dev/null
    end_on_a_small_disk
}

chaos_tests+=(test_fault_disk_read_only)
test_fault_disk_read_only() {
    begin_on_a_small_disk || return
    # As long as a file is open for writing, no file system becomes read-only on demand.
    engine gate none
    process stop chaos
    mount -o remount,ro "$chaos/state"
    assertTrue "the disk is read-only" $?
    serve
    engine gate chaos
    faulted disk-read-only
    mount -o remount,rw "$chaos/state"
    noted 'could not be written'
    end_on_a_small_disk
}

chaos_tests+=(test_fault_state_deleted)
test_fault_state_deleted() {
    begin || return
    is_well
    rm -rf "$chaos_state"
    faulted state-deleted
    wait_until 3 test -s "$AUDIT_LOG"
    assertTrue "the audit log is made anew" $?
    end
}

chaos_tests+=(test_fault_state_corrupted)
test_fault_state_corrupted() {
    begin || return
    is_well
    engine gate none
    process stop chaos
    find "$chaos_state" -type f ! -name 'audit*' -exec sh -c 'head -c 300 /dev/urandom > "$1"' _ {} \;
    serve
    engine gate chaos
    faulted state-corrupted
    env -i STATE_DIR="$chaos_state" REGISTRY=registry.test:5000 NOTARY=https://notary.test:4444 "$chaos_gate" trust forget \
        "${chaos_signed%:*}"
    assertTrue "what is damaged is forgotten, as the refusal says" $?
    end
}

chaos_tests+=(test_fault_audit_log_moved)
test_fault_audit_log_moved() {
    local round
    begin || return
    for round in 1 2 3; do
        mv "$AUDIT_LOG" "$AUDIT_LOG.moved$round"
        sleep 2.5
        faulted audit-log-moved
        noted 'audit.jsonl'
    done
    assertEquals "those that were moved are as they were" 3 "$(find "$chaos_state" -name 'audit.jsonl.moved?' -size +0 | wc -l)"
    assertEquals "and are not held open" 0 "$(find "/proc/$(gate_pid)/fd" -lname '*moved*' | wc -l)"
    end
}

chaos_tests+=(test_fault_audit_log_deleted)
test_fault_audit_log_deleted() {
    begin || return
    rm "$AUDIT_LOG"
    sleep 2.5
    faulted audit-log-deleted
    noted '"event":"BLOCKED"'
    assertEquals "nothing that is deleted is held open" 0 "$(find "/proc/$(gate_pid)/fd" -lname '*audit*deleted*' | wc -l)"
    end
}

# --- The gate's process ---

# The managed plugin, which containerd's shim and dockerd start again.
chaos_tests+=(test_fault_gate_killed)
test_fault_gate_killed() {
    local round is_there
    prepare_chaos
    for round in 1 2 3; do
        kill -KILL "$(plugin_pid)"
        attacks
        assertEquals "what nobody approved is refused" "" "$(< "$SHUNIT_TMPDIR/attacks")"
        never_started
        wait_until "$(fault_seconds gate-killed)" docker ps > /dev/null 2>&1
        is_there=$?
        assertTrue "round $round: it is there again within $(fault_seconds gate-killed) s" $is_there
    done
    faulted gate-killed
}

fault_seconds() { grep -F "| \`$1\` |" "$chaos_table" | awk -F'|' '{print $6 + 0}'; }

# A program of its own is not started again by dockerd; a service manager does that.
chaos_tests+=(test_fault_gate_killed_for_good)
test_fault_gate_killed_for_good() {
    begin || return
    process signal chaos KILL
    sleep 0.5
    attacks
    assertEquals "what nobody approved is refused" "" "$(< "$SHUNIT_TMPDIR/attacks")"
    within "ps" $(($(fault_seconds gate-killed-for-good) * 1000)) docker ps
    assertContains "and why is said" "$output" "plugin chaos failed"
    serve
    faulted gate-killed-for-good
    end
}

# Calls wait meanwhile; none is lost, and none is let pass.
chaos_tests+=(test_fault_gate_stopped)
test_fault_gate_stopped() {
    local waiting
    begin || return
    is_well
    process signal chaos STOP
    attacks &
    waiting=$!
    sleep 5
    kill -0 $waiting
    assertTrue "calls wait while the gate is stopped" $?
    never_started_yet
    process signal chaos CONT
    wait $waiting
    assertEquals "what nobody approved is refused" "" "$(< "$SHUNIT_TMPDIR/attacks")"
    faulted gate-stopped
    end
}

# Without a question to the API, which would wait too.
never_started_yet() {
    grep -l '"StartedAt":"0001-01-01T00:00:00Z"' "$RIG_DATA"/containers/*/config.v2.json | grep -q .
    assertTrue "the stranger has not started" $?
}

# For a managed plugin dockerd waits half a minute.
chaos_tests+=(test_fault_plugin_stopped)
test_fault_plugin_stopped() {
    local pid
    prepare_chaos
    pid=$(plugin_pid)
    kill -STOP "$pid"
    chaos_evil=evil:1.0
    attacks &
    within "ps" $(($(fault_seconds plugin-stopped) * 1000)) docker ps
    assertContains "and why is said" "$output" "plugin $PLUGIN failed"
    wait $!
    assertEquals "what nobody approved is refused" "" "$(< "$SHUNIT_TMPDIR/attacks")"
    kill -CONT "$pid"
    wait_until 10 docker ps > /dev/null 2>&1
    assertTrue "it goes on" $?
    faulted plugin-stopped
}

# floods COMMAND...: test/suite/floods.py
floods() {
    local output status=0
    output=$(python3 "$RIG_TOOLS/../suite/floods.py" "$@" 2>&1) || status=$?
    printf '%s\n' "$output"
    # What runs in the background has no say in the suite's sum.
    assertEquals "floods.py $*: $output" 0 "$status"
    return "$status"
}

chaos_tests+=(test_fault_few_descriptors)
test_fault_few_descriptors() {
    local limited=(prlimit --nofile=128:128) peers
    begin || return
    is_well
    floods peers --socket "$chaos_socket" --count 1000 --seconds 25 &
    peers=$!
    sleep 3
    faulted few-descriptors
    wait $peers
    end
}

chaos_tests+=(test_fault_large_posts)
test_fault_large_posts() {
    local posts
    begin || return
    floods bodies --gate "$(gate_pid)" --socket "$chaos_socket" &
    posts=$!
    sleep 1
    faulted large-posts
    wait $posts
    assertTrue "the posts are refused within their memory" $?
    end
}

# --- The clock ---

# clock SECONDS: so far from the true one
clock() { printf '%+d\n' "$1" > "$chaos/clock"; }

begin_with_a_clock() {
    local library
    library=$(find /usr/lib -name libfaketimeMT.so.1 | head -n 1)
    assertNotNull "libfaketime is installed" "$library"
    mkdir -p "$chaos"
    clock 0
    local chaos_program=$chaos_dynamic
    begin LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$chaos/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
        FAKETIME_DONT_RESET=1 || return
    is_well
    assertTrue "all is well at first" $?
}

# A year: certificates and trust data have expired then.
chaos_tests+=(test_fault_clock_a_year_ahead)
test_fault_clock_a_year_ahead() {
    begin_with_a_clock || return
    clock 31536000
    faulted clock-a-year-ahead
    clock 0
    end
}

# A day, with a check meanwhile. When the clock is right again, an outage is bridged as before.
chaos_tests+=(test_fault_clock_a_day_ahead)
test_fault_clock_a_day_ahead() {
    begin_with_a_clock || return
    clock 86400
    faulted clock-a-day-ahead
    clock 0
    is_well
    misbehave notary reset
    comes_to ok 5000 run "$chaos_signed"
    misbehave notary pass
    end
}

chaos_tests+=(test_fault_clock_a_day_back)
test_fault_clock_a_day_back() {
    begin_with_a_clock || return
    clock -86400
    faulted clock-a-day-back
    clock 0
    end
}

# --- Reloads, load, time ---

chaos_tests+=(test_fault_reload_storm)
test_fault_reload_storm() {
    local count
    mkdir -p "$chaos/config"
    echo '{"auths": {}}' > "$chaos/config/config.json"
    begin DOCKER_CONFIG="$chaos/config" || return
    is_well
    for ((count = 0; count < 300; count++)); do
        if ((count % 2)); then echo '{"auths": {}}'; else printf '{"auths": {"regis'; fi > "$chaos/config/config.json"
        process signal chaos HUP
        sleep 0.02
    done
    printf '{"auths": {"regis' > "$chaos/config/config.json"
    process signal chaos HUP
    noted 'the rules before stay in force'
    faulted reload-storm
    echo '{"auths": {}}' > "$chaos/config/config.json"
    process signal chaos HUP
    wait_until 5 last_note 'settings and files were read again'
    assertTrue "the whole file counts" $?
    end
}

last_note() { tail -n 200 "$AUDIT_LOG" | grep '"event":"GATE"' | tail -n 1 | grep -qF "$1"; }

chaos_tests+=(test_fault_hundred_starts)
test_fault_hundred_starts() {
    local longest
    begin || return
    is_well
    floods starts --gate "$(gate_pid)" --good "$chaos_signed" --mode "$chaos/notary" --count 100
    longest=$(grep -F '"action":"start"' "$AUDIT_LOG" | sed -n 's/.*"duration_us":\([0-9]*\).*/\1/p' | sort -n | tail -n 1)
    assertTrue "the gate decided on each within 8 s: $longest us" "((longest < 8500000))"
    misbehave notary hang
    faulted hundred-starts
    end
}

chaos_tests+=(test_fault_flood_of_one_client)
test_fault_flood_of_one_client() {
    begin FRESHNESS= || return
    is_well
    run registry.test:5000/tool:1.0
    misbehave notary hang registry.test:5000/slow
    engine gate none
    floods flood --unguarded --good "$chaos_signed"
    engine gate chaos
    floods flood --gate "$(gate_pid)" --socket "$chaos_socket" --good "$chaos_signed" --other registry.test:5000/tool:1.0 \
        --slow registry.test:5000/slow:1.0
    never_started
    end
}

chaos_tests+=(test_fault_soak)
test_fault_soak() {
    begin FRESHNESS= || return
    is_well
    floods soak --gate "$(gate_pid)" --good "$chaos_signed" --evil "$(docker image inspect -f '{{.Id}}' evil:1.0)" \
        --container "$(docker inspect -f '{{.Id}}' stranger)" --seconds "${CHAOS_SOAK:-180}"
    faulted soak
    end
}

#!/bin/bash
# The Debian package in a booted Debian with its own systemd and Docker: installed, enabled, the engine restarted, the machine booted
# again, upgraded, removed, purged. Docker works after each; and while the gate is in force nothing that is not approved runs.
#
# With the program of plugin/rootfs, whoever has compiled it. Nothing of this machine's own Docker is touched.
set -euo pipefail
. "$(dirname "$0")/rig/lib.sh"
program=$repo/plugin/rootfs/img-authz

# Mounts are this script's own, and go with it.
if [[ -z ${OWN_MOUNTS:-} ]]; then
    need_root
    packages "${build_packages[@]}" systemd-nspawn:systemd-container shunit2:shunit2 jq:jq busybox:busybox-static
    "$here/tree.sh" booted > /dev/null
    OWN_MOUNTS=1 exec unshare --mount --propagation private "$0"
fi
[[ -x $program ]] || die "plugin/rootfs is empty: make build, or test/rig/rootfs.sh compile"
tree=$("$here/tree.sh" booted)

# --- The machine: the tree, with a layer over it that is thrown away ---

scratch=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
root=$scratch/root leader='' nspawn=''
# shellcheck disable=SC2317  # called by on_exit
finish() {
    [[ -z $leader ]] || kill -KILL "$leader" 2> /dev/null || true
    [[ -z $nspawn ]] || wait "$nspawn" 2> /dev/null || true
    umount --lazy "$root" 2> /dev/null || true
    if [[ -n ${RIG_KEEP:-} ]]; then say "kept: $scratch"; else rm -rf "$scratch"; fi
}
on_exit finish
mkdir "$scratch"/{upper,work,root,docker}
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" "$root"

# What a container may call there beside what nspawn lets it: runc makes a keyring, and programs for its control groups.
machine_boots() {
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setpriv --pdeathsig KILL systemd-nspawn --quiet --directory="$root" --machine=deb \
        --register=no --keep-unit --boot --private-network --capability=all --system-call-filter='@keyring bpf' \
        --bind="$scratch/docker:/var/lib/docker" --console=pipe >> "$scratch/console.log" 2>&1 < /dev/null &
    nspawn=$!
    wait_for "the machine" 20 machine_is_there || { cat "$scratch/console.log" >&2; return 1; }
    leader=$(< "/proc/$nspawn/task/$nspawn/children")
    leader=${leader%% *}
    # `degraded` is up, too: a bare tree has units that a container cannot start.
    wait_for "its units" 60 is_up
}
machine_is_there() { [[ -n $(< "/proc/$nspawn/task/$nspawn/children") ]]; }
is_up() { [[ $(on systemctl is-system-running) =~ ^(running|degraded)$ ]]; }
machine_halts() {
    # As `systemctl poweroff` (signals of systemd(1)).
    kill -RTMIN+4 "$leader"
    wait "$nspawn" || true
    leader='' nspawn=''
}
# on COMMAND...: there
on() { nsenter --target "$leader" --mount --pid --ipc --net --uts --cgroup -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }

# --- What is asserted ---

# docker_works: it answers, and what was running before still does
docker_works() { on timeout 40 docker ps -q > /dev/null; }
runs() { on timeout 40 docker run --rm --network none box:1 /bin/busybox echo ran 2>&1; }
nobody_is_asked() { [[ $(runs) = ran ]]; }
gate_is_asked() { [[ $(runs) = *'authorization denied by plugin img-authz: registry-not-allowed:'* ]]; }
names_gate() { on cat /etc/docker/daemon.json 2> /dev/null | grep -q '"img-authz"'; }
pid_of_gate() { on systemctl show --property MainPID --value img-authz.service; }
is_active() { [[ $(on systemctl is-active "$1") = active ]]; }
since() { on systemctl show --property "$2" --value "$1"; }
checks() {
    local status=0
    "${@:2}" || status=$?
    assertEquals "$1" 0 "$status"
}
refuses() {
    local status=0
    "${@:2}" || status=$?
    assertNotEquals "$1" 0 "$status"
}
# package VERSION: made, and laid where the machine finds it
package() {
    local made
    made=$(VERSION=$1 COMPRESSION=gzip "$repo/packaging/deb.sh" "$program" "$scratch" | tail -n 1)
    mv "$made" "$root/root/img-authz.deb"
}

# --- The tests, in their order ---

test_installed_it_is_not_asked() {
    package 0.1.0
    checks "installs" on dpkg --install /root/img-authz.deb
    checks "its socket is open" is_active img-authz.socket
    refuses "nobody has called it" is_active img-authz.service
    refuses "daemon.json is left alone" names_gate
    checks "it is exposed by 2.0 of 10 at most" on systemd-analyze security --no-pager --threshold=20 img-authz.service > /dev/null
    checks "its manual is there" test -s "$root/usr/share/man/man1/img-authz-enable.1.gz"
    checks "docker works" nobody_is_asked
    on sh -c "printf 'REGISTRY=registry.test\nNOTARY=off\n' >> /etc/default/img-authz"
}

test_enabled_it_is_asked() {
    local said
    # In the operator's own file all else stays.
    on sh -c "printf '{\n    \"debug\": false\n}\n' > /etc/docker/daemon.json"
    said=$(on img-authz enable --service --json)
    assertEquals "$said" 'done true' "$(jq -r '"\(.state) \(.reloaded)"' <<< "$said")"
    assertEquals '{
    "debug": false,
    "authorization-plugins": ["img-authz"]
}' "$(on cat /etc/docker/daemon.json)"
    checks "the engine's question has started it" is_active img-authz.service
    checks "it refuses" gate_is_asked
    checks "docker works" docker_works
    said=$(on img-authz enable --service --json)
    assertEquals "a second time nothing happens: $said" 'done false false' "$(jq -r '"\(.state) \(.changed) \(.reloaded)"' <<< "$said")"
    # What it is not allowed to do is said nowhere, so it was not needed.
    assertEquals "" "$(on journalctl --unit img-authz.service --output cat | grep -iE 'could not be dropped|not permitted|panic')"
}

test_the_engine_restarts_with_it() {
    checks "restarts" on systemctl restart docker
    checks "it refuses" gate_is_asked
    checks "docker works" docker_works
}

test_a_killed_gate_is_there_again() {
    local before
    before=$(pid_of_gate)
    on sh -c "kill -KILL $before"
    checks "the next call is answered" docker_works
    checks "it refuses" gate_is_asked
    assertNotEquals "$before" "$(pid_of_gate)"
}

test_the_machine_boots_with_it() {
    machine_halts
    machine_boots
    checks "it refuses" gate_is_asked
    checks "docker works" docker_works
    assertTrue "the socket is open before docker starts" \
        "(($(since img-authz.socket ActiveEnterTimestampMonotonic) <= $(since docker.service ExecMainStartTimestampMonotonic)))"
}

test_an_upgrade_lets_nothing_through() {
    local before tries
    before=$(pid_of_gate)
    package 0.2.0
    touch "$scratch/upgrading"
    while [[ -e $scratch/upgrading ]]; do runs; done > "$scratch/tries" &
    tries=$!
    checks "upgrades" on dpkg --install /root/img-authz.deb
    sleep 1
    rm "$scratch/upgrading"
    wait "$tries"
    assertNotEquals "the new one serves" "$before" "$(pid_of_gate)"
    assertEquals "each try was refused: $(sort "$scratch/tries" | uniq -c)" "$(grep -c '^docker: \|^ran' "$scratch/tries")" \
        "$(grep -c 'authorization denied by plugin img-authz: registry-not-allowed:' "$scratch/tries")"
    assertTrue "there were tries" "[ $(grep -c '^docker: ' "$scratch/tries") -gt 3 ]"
    checks "what the administrator has set stays" grep -q '^REGISTRY=registry.test' "$root/etc/default/img-authz"
    checks "docker works" docker_works
}

test_what_would_lock_docker_is_not_removed() {
    local kept
    kept=$(on cat /etc/docker/daemon.json)
    on sh -c "printf '{\"authorization-plugins\": [\"img-authz\"],}\n' > /etc/docker/daemon.json"
    refuses "the file cannot be understood" on dpkg --remove img-authz
    checks "the gate is there" gate_is_asked
    printf '%s\n' "$kept" > "$root/etc/docker/daemon.json"
    checks "docker works" docker_works
}

# dockerd would end at its reload, so it is not told; nor is it at its next start.
test_beside_a_plugin_that_is_gone_it_is_not_removed() {
    local kept
    kept=$(on cat /etc/docker/daemon.json)
    on sh -c "printf '{\"authorization-plugins\": [\"img-authz\", \"opa\"]}\n' > /etc/docker/daemon.json"
    refuses "the other plugin is not there" on dpkg --remove img-authz
    checks "daemon.json names the gate" names_gate
    # shellcheck disable=SC2016  # dpkg-query expands it
    assertEquals "the package is as it was" installed "$(on dpkg-query --show --showformat '${db:Status-Status}' img-authz)"
    checks "the gate is asked" gate_is_asked
    printf '%s\n' "$kept" > "$root/etc/docker/daemon.json"
    checks "docker starts again" on systemctl restart docker
    checks "the gate is asked still" gate_is_asked
}

test_removed_it_is_not_missed() {
    checks "removes" on dpkg --remove img-authz
    assertEquals '{
    "debug": false
}' "$(on cat /etc/docker/daemon.json)"
    refuses "its socket is closed" is_active img-authz.socket
    checks "docker works" nobody_is_asked
    checks "docker starts again" on systemctl restart docker
    checks "docker works" nobody_is_asked
    checks "the audit log stays" on test -s /var/lib/img-authz/audit.jsonl
}

test_installed_again_it_is_asked() {
    local script=/var/lib/dpkg/info/img-authz
    checks "installs again" on env IMG_AUTHZ_ENABLE=yes dpkg --install /root/img-authz.deb
    checks "the gate is asked" gate_is_asked
    checks "is deconfigured" on $script.prerm deconfigure in-favour another 1.0
    checks "the gate is asked still" gate_is_asked
    # A removal that dpkg gives up.
    checks "is about to be removed" on $script.prerm remove
    checks "docker works" nobody_is_asked
    checks "and is not" on $script.postinst abort-remove
    checks "the gate is asked again" gate_is_asked
    checks "removes" on dpkg --remove img-authz
    checks "docker works" nobody_is_asked
}

test_purged_its_state_is_gone() {
    checks "purges" on dpkg --purge img-authz
    refuses "the state is gone" on test -e /var/lib/img-authz
    refuses "the settings are gone" on test -e /etc/default/img-authz
    refuses "the file before is gone" on test -e /etc/docker/daemon.json.before-img-authz
    checks "docker works" nobody_is_asked
}

setUp() { test_begun=$SECONDS; }
tearDown() { printf '    (%d s)\n' $((SECONDS - test_begun)); }

say "a machine with systemd and docker: starting"
machine_boots
tar -C "$tree" -c bin/busybox | on docker import - box:1 > /dev/null
say "tests"
# Assertions are told by shunit2, and a test goes on after one.
set +eu
[[ -t 1 ]] || export SHUNIT_COLOR=none
# shellcheck disable=SC1091  # Debian's package
. shunit2

# shellcheck shell=bash disable=SC2154
# A machine of our own on this machine, made of namespaces. Sourced, after lib.sh.
#
# Mounts, processes and (if sealed) the network are its own; /run, /etc/docker and /etc/hosts are private files. An engine
# in it cannot touch the host's, nothing started in it outlives it, and its first process takes everything down when it
# dies. A sealed machine reaches nothing but itself.
#
#   machine_start DIR open|sealed [DATA]   DIR becomes the scratch folder; DATA is the engine's data root, DIR/data
#   inside DIR COMMAND...                  run there, with the settings of DIR/env
#   machine_stop DIR

# The hosts of a sealed machine, all on its loopback device. Not of 127.0.0.0/8: dockerd checks no certificates of those.
hosts='198.51.100.1 registry.test
198.51.100.2 foreign.test
198.51.100.3 notary.test'

machine_start() {
    local dir=$1 network=$2 parent flags=(--mount --pid --ipc)
    [[ $network = open ]] || flags+=(--net)
    sweep "$(dirname "$dir")"
    echo $$ > "$dir/owner"
    mkdir -p "$dir"/{run,etc-docker,log,pid,home,tmp}
    cat > "$dir/env" << END
RIG=$dir
RIG_DATA=${3:-$dir/data}
RIG_TOOLS=$here
HOME=$dir/home
TMPDIR=$dir/tmp
DOCKER_HOST=unix:///run/docker.sock
DOCKER_CONFIG=$dir/home/.docker
END
    cp /etc/hosts "$dir/hosts"
    [[ $network = open ]] || printf '127.0.0.1 localhost\n%s\n' "$hosts" > "$dir/hosts"
    # `mkdir` on the host's side, since a mount needs something to be mounted on; taken back by machine_stop.
    [[ -d /etc/docker ]] || { mkdir /etc/docker && : > "$dir/made-etc-docker"; }
    [[ -n $(find /sys/fs/cgroup -maxdepth 2 -name docker) ]] || : > "$dir/made-cgroup-docker"
    # unshare waits for the first process and ignores our signals; if this shell dies, however it dies, so do both.
    setpriv --pdeathsig KILL unshare "${flags[@]}" --fork --kill-child --mount-proc --propagation private \
        bash "$here/machine-init.sh" "$dir" "$network" > "$dir/log/machine.log" 2>&1 < /dev/null &
    parent=$!
    if ! wait_for "the private machine" 10 test -e "$dir/ready"; then
        cat "$dir/log/machine.log" >&2
        return 1
    fi
    printf '%s%s\n' "$(< "/proc/$parent/task/$parent/children")" "$parent" > "$dir/machine"
}

inside() {
    local dir=$1 pid flags=(--mount --pid --ipc)
    shift
    read -r pid _ < "$dir/machine"
    [[ $(readlink "/proc/$pid/ns/net") = "$(readlink /proc/self/ns/net)" ]] || flags+=(--net)
    # shellcheck disable=SC2016  # expanded there
    nsenter --target "$pid" "${flags[@]}" -- bash -c 'cd "$1" && set -a && . "$2/env" && set +a && shift 2 && exec "$@"' \
        inside "$PWD" "$dir" "$@"
}

# Control groups are the host's. Takes back those of our engine, by name, once they are empty: its own parent, one for each
# plugin, and `docker`, where builds go, if it was not there before.
tidy_control_groups() {
    local dir=$1 names=("$(basename "$1")") name plugin left
    [[ ! -e $dir/made-cgroup-docker ]] || names+=(docker)
    for plugin in "$dir"/data*/plugins/*/; do
        plugin=$(basename "$plugin")
        # An id, and no other folder's name, nor the pattern where it matched nothing.
        [[ ! $plugin =~ ^[0-9a-f]{64}$ ]] || names+=("$plugin")
    done
    for _ in {1..20}; do
        left=$(for name in "${names[@]}"; do find /sys/fs/cgroup -maxdepth 2 -type d -name "$name"; done)
        [[ -n $left ]] || return 0
        # shellcheck disable=SC2086  # one folder a word
        find $left -depth -type d -exec rmdir {} \; 2> /dev/null || true
        sleep 0.1
    done
}

# sweep FOLDER: what runs left behind there that were killed before they could clean up. Their processes died with them.
sweep() {
    local dir
    for dir in "$1"/img-authz.*/; do
        dir=${dir%/}
        [[ -s $dir/owner && ! -e /proc/$(< "$dir/owner") ]] || continue
        tidy_control_groups "$dir"
        rm -rf "$dir"
    done
}

# A folder that is removed takes the mounts with it that other machines have there: while one runs, the duty is its.
give_back_etc_docker() {
    local dir=$1 other
    [[ -e $dir/made-etc-docker ]] || return 0
    for other in "$(dirname "$dir")"/img-authz.*/; do
        if [[ -s ${other}machine && -e /proc/$(< "${other}owner") ]] && : > "${other}made-etc-docker"; then return 0; fi
    done
    rmdir /etc/docker 2> /dev/null || true
}

machine_stop() {
    local dir=$1 pid parent
    [[ -s $dir/machine ]] || return 0
    read -r pid parent < "$dir/machine"
    kill -KILL "$pid" 2> /dev/null || true
    wait "$parent" 2> /dev/null || true
    rm -f "$dir/machine" "$dir/ready"
    tidy_control_groups "$dir"
    give_back_etc_docker "$dir"
}

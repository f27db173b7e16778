# shellcheck shell=bash disable=SC2154
# The two postures on a real engine, line by line: what each says to a call (docs/postures.md). Sourced by tests.sh, whose words it
# uses. Every line is printed with what came of it.

# row IMAGES LOCKDOWN COMMAND...: what each posture says to the command: the code of its refusal, `ok` (it succeeds), `pass` (the gate
# lets it pass, and the engine may have an opinion of its own), or `-` (not tried in this posture)
row() {
    local expected=$1 output status=0
    [[ $posture = images ]] || expected=$2
    shift 2
    case $expected in
    -) return ;;
    ok | pass)
        output=$("$@" 2>&1) || status=$?
        # Foreign words may hold anything; the engine's own say who refused.
        assertNotContains "$posture: $* -- $output" "$output" "authorization denied by plugin"
        if [[ $expected = ok ]]; then
            assertEquals "$posture: exit status of: $* -- $output" 0 "$status"
            [[ $1 != api ]] || assertNotContains "$posture: $*" "$output" '"message":'
        fi
        printf '    %-8s  allowed   %s\n' "$posture" "$*"
        ;;
    *)
        denial=''
        refused "$expected" "$@"
        printf '    %-8s  refused   %s\n        %s\n' "$posture" "$*" "$denial"
        ;;
    esac
}

app=registry.test:5000/app:1.0

# created FLAG...: a container made with these flags, and removed
created() {
    local id
    id=$(docker create "$@" "$app") && docker rm --volumes "$id" > /dev/null
}

# posted TARGET JSON: a container made by this body, and removed
posted() {
    local answer id
    answer=$(api POST "$1" -H 'Content-Type: application/json' -d "$2")
    id=$(sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p' <<< "$answer")
    if [[ -z $id ]]; then printf '%s\n' "$answer" >&2; return 1; fi
    docker rm --volumes "$id" > /dev/null
}

# Posture `lockdown` refuses to be switched off through the API: the gate is taken out of the chain for it.
in_posture() {
    posture=$1
    shift
    engine gate none
    reconfigure POSTURE="$posture" "$@"
}

in_posture_images() { in_posture images ALLOW_HOST_ACCESS=; }

# What both postures are asked, in the same order.
images_and_containers() {
    local digest evil_id
    digest=$(registry_digest app 1.0)
    evil_id=$(before_the_gate evil)
    docker rm -f box > /dev/null 2>&1

    row ok ok docker pull -q "registry.test:5000/app@$digest"
    row ok ok docker pull -q "$app"
    row not-signed not-signed docker pull "registry.test:5000/app@$(registry_digest app unsigned)"
    row not-signed not-signed docker pull registry.test:5000/app:unsigned
    row no-trust-data no-trust-data docker pull registry.test:5000/plain:1.0
    row registry-not-allowed registry-not-allowed docker pull foreign.test:5001/app:1.0
    row pull-all-tags pull-all-tags docker pull --all-tags registry.test:5000/app
    row ok ok run "$app"
    row registry-not-allowed registry-not-allowed docker create evil:1.0
    row registry-not-allowed registry-not-allowed docker create "$evil_id"
    row no-image no-image posted /containers/create '{"Cmd": ["/bin/sh"]}'
    row mount-needs-digest mount-needs-digest posted /containers/create \
        "{\"Image\": \"$app\", \"HostConfig\": {\"Mounts\": [{\"Type\": \"image\", \"Source\": \"$app\", \"Target\": \"/i\"}]}}"
    row ok ok docker create --name box --network none "$app" sleep 300
    row ok ok docker start box
    row ok ok docker restart --time 0 box
    row start-with-body start-with-body api POST /v1.23/containers/box/start -H 'Content-Type: application/json' \
        -d '{"Privileged": true}'
    row start-from-checkpoint start-from-checkpoint api POST '/containers/box/start?checkpoint=c'
    row build-denied build-denied env DOCKER_BUILDKIT=0 docker build -q "$SHUNIT_TMPDIR/context"
    row build-denied build-denied api POST /session -H 'Connection: Upgrade' -H 'Upgrade: h2c'
    row build-denied build-denied api POST /grpc -H 'Connection: Upgrade' -H 'Upgrade: h2c'
    # The engine has no route that this gate does not know, and asks nobody about what it has not.
    row pass pass api POST /no-such-route

    # What is ordinary work.
    row ok ok docker ps -a
    row ok ok docker exec box echo "it runs"
    row ok ok docker logs box
    row ok ok docker top box
    row ok ok docker cp box:/id "$SHUNIT_TMPDIR/id"
    row ok ok docker diff box
    row ok ok docker export box -o "$SHUNIT_TMPDIR/export.tar"
    row ok ok docker save "$app" -o "$SHUNIT_TMPDIR/good.tar"
    row ok ok docker events --since 1m --until 0s
    row ok ok docker rename box box2
    row ok ok docker rename box2 box
    row ok ok docker update --restart no box
    row ok ok docker volume create plain
    row ok ok created -v plain:/data --tmpfs /t --read-only --cap-drop ALL --security-opt no-new-privileges
    row ok ok created --log-driver json-file --log-opt max-size=1m
    row ok ok docker volume rm plain
    row ok ok docker network create --driver bridge ordinary
    row ok ok created --network ordinary
    row ok ok docker network rm ordinary
    row ok ok docker push -q "$app"

    # Content that comes in beside the registry, and hands in a container.
    row ok posture-forbids docker load -q -i "$SHUNIT_TMPDIR/good.tar"
    row pass posture-forbids api POST '/images/create?fromSrc=http%3A%2F%2Fregistry.test%2Fx.tar&repo=imported'
    row import-file import-file docker import "$SHUNIT_TMPDIR/export.tar" imported
    row ok posture-forbids docker commit box committed
    row ok posture-forbids docker tag "$app" tagged:1.0
    row ok posture-forbids docker cp "$SHUNIT_TMPDIR/id" box:/planted
    # The rig's machine may have too few capabilities to hand out.
    row pass posture-forbids docker exec --privileged box echo "with all capabilities"
    row pass posture-forbids api POST /containers/box/checkpoints -H 'Content-Type: application/json' -d '{"CheckpointID": "c"}'
    docker rmi -f committed tagged:1.0 > /dev/null 2>&1

    row ok ok docker stop --time 0 box
    row ok ok docker rm box
}

# in_network NETWORK: the network namespace of a container in it
in_network() { docker run --rm --network "$1" "$app" busybox readlink /proc/self/ns/net 2>&1; }

# A plugin `other` of the engine's, which is there and drives nothing: the engine says so at once, and looks for no missing one for as
# long as a minute. Leaves its process in `other`
plugin_that_drives_nothing() {
    local socket=/run/docker/plugins/other.sock
    mkdir -p "${socket%/*}"
    python3 "$RIG_TOOLS/unix_http.py" $socket '{"Implements": ["nothing"]}' &
    other=$!
    wait_until 10 test -S $socket
    assertTrue "there is a plugin \`other\`" $?
}

ways_to_the_host() {
    local host name other
    host=$(docker network inspect -f '{{.Id}}' host)
    plugin_that_drives_nothing
    docker create --name holder --network none -v /data "$app" > /dev/null

    row ok host-access created --privileged
    row ok host-access created -v /:/host
    row ok host-access created -v /:/host:ro
    row ok host-access created -v /srv/../etc:/host
    row ok host-access created -v /run/docker.sock:/run/docker.sock
    row ok host-access created --mount type=bind,source=/etc,target=/host
    row pass host-access created --mount type=volume,source=v,target=/v,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/
    row pass host-access created --volume-driver other -v v:/v
    row ok host-access created --volumes-from holder
    row ok host-access created --device /dev/null
    row ok host-access created --device-cgroup-rule 'a *:* rwm'
    row ok host-access created --cap-add SYS_ADMIN
    row ok host-access created --security-opt seccomp=unconfined
    row ok host-access created --security-opt systempaths=unconfined
    row ok host-access created --pid host
    row ok host-access created --pid container:holder
    row ok host-access created --ipc host
    row ok host-access created --uts host
    row ok host-access created --userns host
    row ok host-access created --cgroupns host
    row ok host-access created --network host
    row ok host-access created --network container:holder
    row ok host-access created --runtime runc
    row ok host-access created --cgroup-parent /elsewhere
    row ok host-access created --sysctl net.ipv4.ip_forward=1
    row ok host-access created --log-driver syslog --log-opt syslog-address=unix:///run/docker.sock
    row ok host-access posted /containers/create "{\"Image\": \"$app\", \"HostConfig\": {\"Annotations\": {\"a\": \"b\"}}}"
    row ok host-access posted /v1.40/containers/create "{\"Image\": \"$app\", \"Binds\": [\"/:/host\"]}"
    row ok host-access posted /v1.40/containers/create "{\"Image\": \"$app\", \"HostConfig\": null, \"Privileged\": true}"
    row ok host-access posted /containers/create "{\"image\": \"$app\", \"hostconfig\": {\"BINDS\": [\"/:/host\"]}}"
    # The engine knows the host's network by its id as well. What does not call it `host` runs in a network of its own, if it runs.
    for name in "$host" "${host:0:12}"; do
        row pass pass created --network "$name"
        assertNotContains "$posture: the network of a container in $name" "$(in_network "$name")" "$(readlink /proc/self/ns/net)"
    done
    [[ $posture = lockdown ]] || assertContains "the network of a container in host" "$(in_network host)" "$(readlink /proc/self/ns/net)"
    row ok host-access docker volume create --opt type=none --opt o=bind --opt device=/ opened
    row pass host-access docker volume create --driver other foreign
    row pass posture-forbids docker network create --driver other foreign
    kill "$other"
    wait "$other" 2> /dev/null
    rm /run/docker/plugins/other.sock
    docker volume rm opened v > /dev/null 2>&1
    docker rm --volumes holder > /dev/null
}

plugins() {
    local name=${PLUGIN%:*} id spelling remote=registry.test:5000/tools/other
    id=$(plugin_id)
    local json=(-H 'Content-Type: application/json' -d '[]')
    row plugin-needs-digest posture-forbids api POST "/plugins/pull?remote=$remote:1" "${json[@]}"
    row self-protect self-protect api POST "/plugins/pull?remote=$remote:1&name=$PLUGIN" "${json[@]}"
    row self-protect self-protect api POST "/plugins/create?name=$name" -H 'Content-Type: application/x-tar' --data-binary x
    row pass posture-forbids docker plugin disable other
    row pass posture-forbids docker plugin rm other
    # In posture `images` these work, and are on record: see test_disabling_ends_enforcement_and_sighup_brings_it_back.
    for spelling in "$name" "$PLUGIN" "$id" "${id:0:12}" "${id:0:1}"; do
        row - self-protect docker plugin disable "$spelling"
        row - self-protect docker plugin disable --force "$spelling"
        row - self-protect docker plugin enable "$spelling"
        row - self-protect docker plugin set "$spelling" MODE=permissive
        # It would take the audit log with it, and lock the API.
        row self-protect self-protect docker plugin rm --force "$spelling"
        row self-protect self-protect api POST "/plugins/$spelling/upgrade?remote=$remote:2" "${json[@]}"
    done
}

swarm() {
    local digest host
    digest=$(registry_digest app 1.0)
    host=$(docker network inspect -f '{{.Id}}' host)
    row ok posture-forbids docker swarm init --advertise-addr 198.51.100.1
    [[ $posture = images ]] || before_the_gate docker swarm init --advertise-addr 198.51.100.1 > /dev/null
    row ok posture-forbids docker node update --label-add a=b "$(docker info -f '{{.Swarm.NodeID}}')"
    row ok ok docker network create --driver overlay between
    # shellcheck disable=SC2317  # called by `row`
    service() { docker service create --quiet --detach --no-resolve-image --replicas 0 "$@" "$app@$digest"; }
    row ok ok service --name plain
    row ok ok service --name inside --network between
    row ok ok service --name bridged --network bridge
    row ok host-access service --name outside --network host
    row ok host-access service_in by-id "$host" "$digest"
    row ok host-access service_in by-prefix "${host:0:12}" "$digest"
    row pass host-access service_in nowhere no-such-network "$digest"
    row ok host-access service --name bound --mount type=bind,source=/etc,target=/host
    # What nodes make another path of, and what they may make of what they like.
    # shellcheck disable=SC2016  # the backticks are Go's
    row request-unreadable request-unreadable service --name socket --mount 'type=bind,source=/{{`run/docker.sock`}},target=/s'
    # shellcheck disable=SC2016
    row request-unreadable request-unreadable service --name root \
        --mount 'type=volume,source=v,target=/v,volume-opt=type=tmpfs,volume-opt=o={{`bind`}},volume-opt=device=/'
    row ok ok service --name slots --mount 'type=volume,source=v-{{.Task.Slot}},target=/v' --env 'NODE={{.Node.Hostname}}'
    row ok host-access service --name capable --cap-add SYS_ADMIN
    row ok host-access service --name logged --log-driver syslog
    row service-needs-digest service-needs-digest docker service create --detach --no-resolve-image "$app"
    row ok ok docker service update --quiet --detach --no-resolve-image --label-add a=b plain
    row ok ok docker service update --quiet --detach --rollback plain
    row ok ok docker service rm plain
    row ok posture-forbids docker swarm leave --force
    [[ $posture = images ]] || before_the_gate docker swarm leave --force > /dev/null
}

# service_in NAME NETWORK DIGEST: as no client of docker's spells the network
service_in() {
    local answer
    answer=$(api POST /services/create -H 'Content-Type: application/json' -d "{\"Name\": \"$1\", \"Mode\": {\"Replicated\": {\"Replicas\": 0}},
        \"TaskTemplate\": {\"ContainerSpec\": {\"Image\": \"$app@$3\"}, \"Networks\": [{\"Target\": \"$2\"}]}}")
    printf '%s\n' "$answer"
    [[ $answer = *'"ID"'* ]]
}

posture_table() {
    mkdir -p "$SHUNIT_TMPDIR/context"
    printf 'FROM scratch\nCOPY Dockerfile /\n' > "$SHUNIT_TMPDIR/context/Dockerfile"
    docker_signed
    images_and_containers
    ways_to_the_host
    plugins
    swarm
}

further_tests+=(test_posture_images)
test_posture_images() {
    in_posture_images
    posture_table
}

further_tests+=(test_posture_lockdown)
test_posture_lockdown() {
    in_posture lockdown ALLOW_HOST_ACCESS=
    posture_table
    in_posture_images
}

further_tests+=(test_host_access_that_is_allowed)
test_host_access_that_is_allowed() {
    in_posture lockdown ALLOW_HOST_ACCESS='bind=/srv/,bind=/etc/hostname,capability=NET_BIND_SERVICE,namespace=network:host'
    docker_signed
    row - ok created -v /srv:/a -v /srv/x:/b -v /etc/hostname:/c --cap-add NET_BIND_SERVICE --cap-add cap_net_bind_service
    row - ok created --mount type=bind,source=/srv,target=/a
    row - ok created --network host
    row - host-access created -v /etc:/host
    row - host-access created -v /srvx:/host
    row - host-access created -v /srv/../etc:/host
    row - host-access created -v /etc/hostname/..:/host
    row - host-access created -v /etc/hostname/x:/host
    row - host-access created -v /srv/x:/b --privileged
    row - host-access created --cap-add NET_BIND_SERVICE --cap-add NET_ADMIN
    row - host-access created --cap-add ALL
    row - host-access created --pid host
    # A fault leaves the last good settings in force.
    in_posture lockdown ALLOW_HOST_ACCESS='bind=,binds=/etc'
    row - ok created -v /srv/x:/b
    row - host-access created -v /etc:/host
    in_posture_images
}

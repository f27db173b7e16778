# shellcheck shell=bash disable=SC2016,SC2086,SC2154  # scripts for containers; the codes of refusals are words of tests.sh
# Ordinary work is not in the way: what people do with docker and compose all day, in both postures, and beside it what the gate
# refuses of the same kind. Sourced by tests.sh, whose words it uses, and those of lockdown.sh.

# in_terminal COMMAND...: with a terminal of its own, at which nobody types; prints what was on it
in_terminal() {
    local nobody=$SHUNIT_TMPDIR/nobody
    [[ -p $nobody ]] || mkfifo "$nobody"
    # Open for writing too, it has no end.
    script --quiet --return --command "$(printf '%q ' "$@")" /dev/null <> "$nobody" | tr -d '\r'
    return "${PIPESTATUS[0]}"
}

# typed LINE COMMAND...: with this line on its input, which stays open a while: some command lines stop listening at its end
typed() {
    local line=$1
    shift
    { echo "$line"; sleep 2; } | "$@"
}

# shown SECONDS WORDS FILE: the words are in the file by then
shown() {
    wait_until "$1" grep -qsF -- "$2" "$3"
    status=$?
    assertTrue "$posture: within $1 s: $2 -- $(< "$3")" $status
}

# ended PID...: processes in the background are over
ended() {
    kill "$@" 2> /dev/null
    wait "$@" 2> /dev/null
}

# A container of the signed image that lives, writes and listens; and one of an image that nobody vouches for, older than the gate.
boxes() {
    local evil_id
    docker_signed
    evil_id=$(before_the_gate evil)
    docker rm -f box stranger > /dev/null 2>&1
    docker run -d --name box --network none "$app" sh -c 'echo begun; exec sleep 300' > /dev/null
    before_the_gate docker create --name stranger --network none -i "$evil_id" > /dev/null
}

terminals_and_streams() {
    local out=$SHUNIT_TMPDIR/out
    # run, attach, exec: with a pipe, and with a terminal.
    says "heard one" run -i "$app" sh -c 'read -r line; echo "heard $line"' <<< one
    assertContains "$posture: run -it" "$(in_terminal docker run --rm -it --network none "$app" busybox tty)" /dev/
    docker run -d -i --name listener --network none "$app" sh -c 'read -r line; echo "heard $line"' > /dev/null
    says "heard two" typed two docker attach listener
    docker rm -f listener > /dev/null
    docker create -i --name listener --network none "$app" sh -c 'read -r line; echo "heard $line"' > /dev/null
    says "heard three" typed three docker start -a -i listener
    docker rm -f listener > /dev/null
    refused $registry_not_allowed docker start -a -i stranger
    refused $registry_not_allowed in_terminal docker run --rm -it --network none evil:1.0
    says "by exec" docker exec box echo "by exec"
    says "by pipe" docker exec -i box cat <<< "by pipe"
    says "/dev/pts/0" in_terminal docker exec -it box busybox tty
    says "65534 /bin b" docker exec -u 65534 -w /bin -e A=b box sh -c 'echo "$(busybox id -u) $(busybox pwd) $A"'
    docker exec box sh -c 'exit 3'
    assertEquals "$posture: the exit status comes through" 3 $?
    row pass posture-forbids in_terminal docker exec --privileged -it box busybox tty

    # What is followed: output that comes later, events while they happen.
    docker logs -f box > "$out" 2>&1 &
    shown 10 begun "$out"
    docker exec box sh -c 'echo later > /proc/1/fd/1'
    shown 10 later "$out"
    ended $!
    says "begun
later" docker logs box
    docker events --filter container=box --format '{{.Action}}' > "$out" 2>&1 &
    wait_until 10 paused_and_seen "$out"
    status=$?
    assertTrue "$posture: the events came: $(< "$out")" $status
    ended $!
    refused $registry_not_allowed docker start stranger
}

paused_and_seen() {
    docker pause box > /dev/null && docker unpause box > /dev/null && grep -q '^unpause' "$1"
}

lives_of_containers() {
    local out=$SHUNIT_TMPDIR/out
    says true docker inspect -f '{{.State.Running}}' box
    assertContains "$posture: stats" "$(docker stats --no-stream --format '{{.Name}}' box 2>&1)" box
    assertContains "$posture: top" "$(docker top box)" "sleep 300"
    docker wait box > "$out" &
    row ok ok docker stop --time 0 box
    wait $!
    shown 1 137 "$out"
    row ok ok docker start box
    row ok ok docker restart --time 0 box
    row ok ok docker kill --signal KILL box
    row ok ok docker start box
    for verb in start restart; do row registry-not-allowed registry-not-allowed docker $verb stranger; done
    # As Portainer's pages do it: a body that no engine reads.
    row ok ok docker stop --time 0 box
    for verb in start restart?t=0; do
        row ok ok api POST /containers/box/$verb -H 'Content-Type: application/json' -d '{}'
        row registry-not-allowed registry-not-allowed api POST /containers/stranger/$verb -H 'Content-Type: application/json' -d '{}'
    done
    # With limits, a user, variables and a folder: none of it is a way to the host.
    says "65534 b" run --user 65534 --env A=b --workdir /bin --hostname here --read-only --tmpfs /t --memory 64m --pids-limit 50 \
        --ulimit nofile=100 --label a=b --stop-signal INT "$app" sh -c 'echo "$(busybox id -u) $A"'
    # The engine runs the command of a health check by itself.
    docker run -d --name healthy --network none --restart unless-stopped --health-cmd true --health-interval 1s "$app" \
        sleep 300 > /dev/null
    wait_until 20 is_healthy
    assertTrue "$posture: it is healthy" $?
    docker rm -f healthy > /dev/null
}

is_healthy() { [[ $(docker inspect -f '{{.State.Health.Status}}' healthy) = healthy ]]; }

files_and_archives() {
    local dir=$SHUNIT_TMPDIR/files
    mkdir -p "$dir"
    echo "from here" > "$dir/file"
    row ok posture-forbids docker cp "$dir/file" box:/file
    [[ $posture = lockdown ]] || says "from here" docker exec box cat /file
    row ok ok docker cp box:/id "$dir/id"
    assertEquals "$posture: what came out" "signed by docker trust, 1.0" "$(< "$dir/id")"
    says "signed by docker trust, 1.0" archived docker cp box:/id -
    row ok ok docker save -o "$dir/app.tar" "$app"
    row ok posture-forbids docker load -q -i "$dir/app.tar"
    # What is loaded does not run for that.
    image_archive registry.test:5000/app:loaded "loaded" > "$dir/loaded.tar"
    row ok posture-forbids docker load -q -i "$dir/loaded.tar"
    [[ $posture = lockdown ]] || refused $not_signed run registry.test:5000/app:loaded
    docker rmi -f registry.test:5000/app:loaded > /dev/null 2>&1
    rm -r "$dir"
}

# archived COMMAND...: the contents of the file in the archive that it prints
archived() { "$@" | tar -xO; }

volumes_and_networks() {
    row ok ok docker volume create shelf
    says "" run -v shelf:/shelf "$app" sh -c 'echo kept > /shelf/file'
    says "kept" run -v shelf:/shelf:ro "$app" cat /shelf/file
    refused $registry_not_allowed run -v shelf:/shelf evil:1.0
    row ok host-access created -v /etc:/shelf
    for verb in ls "inspect shelf"; do
        row ok ok docker volume $verb
    done
    row ok ok docker volume rm shelf

    row ok ok docker network create lane
    docker run -d --name server --network lane "$app" busybox nc -l -p 8080 -e echo "by the network" > /dev/null
    says "by the network" docker run --rm --network lane "$app" busybox nc "$(address_of server lane)" 8080
    refused $registry_not_allowed docker run --rm --network lane evil:1.0
    row ok host-access created --network host
    docker rm -f server > /dev/null
    row ok ok docker network create other-lane
    docker run -d --name server --network lane "$app" sleep 300 > /dev/null
    row ok ok docker network connect other-lane server
    assertNotEquals "$posture: it has an address there" "" "$(address_of server other-lane)"
    row ok ok docker network disconnect other-lane server
    docker rm -f server > /dev/null
    row ok ok docker network rm lane other-lane
}

address_of() { docker inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }

housekeeping() {
    local verb
    for verb in info version "system df" "image ls" "image history $app" "image inspect $app" "container ls -a" "network ls" \
        "container prune -f" "image prune -f" "network prune -f" "volume prune -f"; do
        row ok ok docker $verb
    done
    # buildx would ask by way of BuildKit, which is refused with all of it.
    row ok ok env DOCKER_BUILDKIT=0 docker builder prune -f
    row ok ok api GET /distribution/registry.test:5000/app:1.0/json
    row ok posture-forbids docker tag "$app" registry.test:5000/app:tagged
    row no-trust-data no-trust-data docker pull registry.test:5000/plain:1.0
    docker rmi registry.test:5000/app:tagged > /dev/null 2>&1
}

# compose ARGUMENT...: with the file of `compose_file`
compose() { "${compose_command[@]}" --project-name team --file "$SHUNIT_TMPDIR/compose.yml" "$@"; }

# compose_file IMAGE [LINE...]: two services, of which one has this image and these lines more
compose_file() {
    local line
    {
        printf '%s\n' services: '  web:' "    image: $app" '    command: ["sh", "-c", "echo web is up; exec sleep 300"]' \
            '    volumes: ["data:/data"]' '  worker:' "    image: $1" '    command: ["sh", "-c", "echo worker is up; exec sleep 300"]' \
            '    depends_on: [web]'
        shift
        for line; do printf '    %s\n' "$line"; done
        printf '%s\n' 'volumes:' '  data:'
    } > "$SHUNIT_TMPDIR/compose.yml"
}

# denied_once COMMAND...: the command, of whose output a denial is left on a line, however often it is repeated there
denied_once() {
    local output status=0
    output=$("$@" 2>&1) || status=$?
    if grep -q 'authorization denied by plugin' <<< "$output"; then
        grep -o 'authorization denied by plugin.*' <<< "$output" | tr -d "\"'" | sort -u
    else
        printf '%s\n' "$output"
    fi
    return "$status"
}

compose_projects() {
    local out=$SHUNIT_TMPDIR/out
    compose_file registry.test:5000/tool:1.0
    row ok ok compose pull
    row ok ok compose up -d
    assertEquals "$posture: services that run" "web worker" "$(compose ps --services --filter status=running | sort | xargs)"
    compose logs --no-color > "$out" 2>&1
    shown 5 "web is up" "$out"
    shown 5 "worker is up" "$out"
    says "by exec" compose exec -T web echo "by exec"
    row ok ok compose restart --timeout 0 worker
    # The new container has another name until the old one is gone.
    row ok ok compose up -d --force-recreate --timeout 0 worker
    says "by run" compose run --rm -T --no-deps web echo "by run"
    row ok ok compose stop --timeout 0
    row ok ok compose start
    row ok ok compose down --timeout 0 --volumes

    # The same with one service that must not run: an image that is not signed, one that is only here, one that is built.
    compose_file registry.test:5000/plain:1.0
    row no-trust-data no-trust-data denied_once compose up -d
    compose_file evil:1.0
    row registry-not-allowed registry-not-allowed denied_once compose up -d
    assertEquals "$posture: containers of evil:1.0" "stranger" "$(docker ps -a --filter ancestor=evil:1.0 --format '{{.Names}}')"
    compose_file registry.test:5000/tool:1.0 'privileged: true'
    # The rig's machine may have too few capabilities to hand out.
    row pass host-access denied_once compose up -d
    compose_file registry.test:5000/tool:1.0 'volumes: ["/etc:/host"]'
    row ok host-access denied_once compose up -d
    compose down --timeout 0 --volumes > /dev/null 2>&1
}

ordinary_work() {
    boxes
    terminals_and_streams
    lives_of_containers
    files_and_archives
    volumes_and_networks
    compose_projects
    docker rm -f box stranger > /dev/null
    housekeeping
}

further_tests+=(test_ordinary_work_in_posture_images)
test_ordinary_work_in_posture_images() {
    in_posture_images
    ordinary_work
}

further_tests+=(test_ordinary_work_in_posture_lockdown)
test_ordinary_work_in_posture_lockdown() {
    in_posture lockdown ALLOW_HOST_ACCESS=
    ordinary_work
    in_posture_images
}

# shellcheck shell=bash disable=SC2086,SC2154  # the codes of refusals are words of tests.sh
# Clients that are not Docker's own (docs/clients.md): what they do all day works, and they show the gate's refusals. Sourced by
# tests.sh, whose words it uses, and those of ordinary.sh. Run by name alone (`make -f Makefile.test clients`), since they come from
# PyPI and npm.
#
#   RIG_CLIENTS    their folder, as rig/clients.sh prints it

ryuk=registry.test:5000/testcontainers/ryuk:0.14.0
dev=registry.test:5000/dev:1.0

# client PROGRAM ARGUMENT...: one of test/clients, which ends well if all went as it says there; its last words are `done`
client() {
    local program=$1 output status=0
    shift
    case $program in
    *.py) output=$("$RIG_CLIENTS/venv/bin/python" "$RIG_TOOLS/../clients/$program" "$@" 2>&1) || status=$? ;;
    *.js) output=$(NODE_PATH=$RIG_CLIENTS/node_modules node "$RIG_TOOLS/../clients/$program" "$@" 2>&1) || status=$? ;;
    esac
    assertEquals "exit status of: $program $* -- $output" 0 "$status"
    assertEquals "$program $* -- $output" "done" "$(tail -n 1 <<< "$output")"
    grep '^refused ' <<< "$output" | sed 's/^/    /'
}

client_tests+=(test_docker_py)
test_docker_py() {
    clients_host
    client docker_py.py images
    in_posture lockdown ALLOW_HOST_ACCESS=
    client docker_py.py lockdown
    in_posture lockdown ALLOW_HOST_ACCESS=runtime=runc,masked-paths,readonly-paths,namespace=cgroup:host
    client docker_py.py again
    in_posture_images
}

client_tests+=(test_dockerode)
test_dockerode() {
    clients_host
    client dockerode.js images
    in_posture lockdown ALLOW_HOST_ACCESS=
    client dockerode.js lockdown
    in_posture_images
}

# Each with its reaper: refused while nobody vouches for that, and where a bind of the engine's socket is a way to the host.
client_tests+=(test_testcontainers)
test_testcontainers() {
    local program
    clients_host
    publish_ryuk
    for program in testcontainers_py.py testcontainers.js; do
        client $program refused registry-not-allowed $app
        RYUK_CONTAINER_IMAGE=$ryuk client $program runs $app
        RYUK_CONTAINER_IMAGE=$ryuk client $program refused no-trust-data registry.test:5000/plain:1.0
        TESTCONTAINERS_RYUK_DISABLED=true client $program runs $app
        remove_reapers
    done
    in_posture lockdown ALLOW_HOST_ACCESS=
    for program in testcontainers_py.py testcontainers.js; do
        RYUK_CONTAINER_IMAGE=$ryuk client $program refused host-access $app
    done
    TESTCONTAINERS_RYUK_DISABLED=true client testcontainers_py.py runs $app
    in_posture lockdown ALLOW_HOST_ACCESS=bind=/run/docker.sock
    RYUK_CONTAINER_IMAGE=$ryuk client testcontainers_py.py runs $app
    remove_reapers
    in_posture_images
}

client_tests+=(test_devcontainers)
test_devcontainers() {
    local folder=$SHUNIT_TMPDIR/workspace id
    clients_host
    publish_changed $dev '["sh"]'
    workspace "\"image\": \"$dev\""
    row ok - devcontainer_up
    id=$(docker ps -q --filter "label=devcontainer.local_folder=$folder")
    says "in the workspace" "${devcontainer[@]}" exec --workspace-folder "$folder" sh -c 'echo in the workspace'
    docker rm -f "$id" > /dev/null
    workspace '"image": "registry.test:5000/plain:1.0"'
    blocked $no_trust_data devcontainer_up
    printf 'FROM %s\n' $app > "$folder/.devcontainer/Dockerfile"
    workspace '"build": {"dockerfile": "Dockerfile"}'
    blocked $build_denied devcontainer_up
    in_posture lockdown ALLOW_HOST_ACCESS=
    workspace "\"image\": \"$dev\""
    blocked host-access devcontainer_up
    in_posture lockdown ALLOW_HOST_ACCESS="bind=$folder"
    row - ok devcontainer_up
    docker ps -aq --filter "label=devcontainer.local_folder=$folder" | xargs docker rm -f > /dev/null
    in_posture_images
}

devcontainer_up() { "${devcontainer[@]}" up --workspace-folder "$folder" --mount-workspace-git-root false --log-level info; }

# workspace LINE: a folder with a devcontainer.json of this line
workspace() {
    mkdir -p "$folder/.devcontainer"
    printf '{%s, "updateRemoteUserUID": false, "overrideCommand": true}\n' "$1" > "$folder/.devcontainer/devcontainer.json"
}

# The engine with a bridge, so that ports can be published; an image that nobody vouches for; posture `images`.
clients_host() {
    : "${RIG_CLIENTS:?rig/clients.sh says it}"
    devcontainer=(node "$RIG_CLIENTS/node_modules/.bin/devcontainer")
    [[ -e /sys/class/net/docker0 ]] || engine restart --bridge= --ip-masq=false
    in_posture_images
    docker_signed
    evil > /dev/null
}

# publish_changed REFERENCE COMMAND: an image as the signed one, signed too, with users and another command
publish_changed() {
    local id
    id=$(docker create $app)
    mkdir -p "$SHUNIT_TMPDIR/etc"
    echo 'root:x:0:0:root:/:/bin/sh' > "$SHUNIT_TMPDIR/etc/passwd"
    docker cp "$SHUNIT_TMPDIR/etc" "$id:/" > /dev/null
    docker commit --change "CMD $2" "$id" "$1" > /dev/null
    docker rm "$id" > /dev/null
    push "$1" > /dev/null
    sign_with_notary "$1"
    docker rmi -f "$1" > /dev/null
}

# A stand-in for Testcontainers' reaper: it says what the real one says first, and listens.
publish_ryuk() {
    publish_changed $ryuk '["sh", "-c", "echo Started!; while :; do busybox nc -l -p 8080 -e busybox cat; done"]'
}

remove_reapers() { docker ps -aq --filter ancestor=$ryuk | xargs -r docker rm -f > /dev/null; }

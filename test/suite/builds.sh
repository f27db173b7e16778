# shellcheck shell=bash disable=SC2086,SC2154  # the codes of refusals are words of tests.sh
# Builds, by the classic builder, by BuildKit and by compose: refused with BUILD=deny, and what BUILD=allow lets happen. Sourced by
# tests.sh, whose words it uses, and those of ordinary.sh.

# built BASE NAME [CLIENT...]: an image made by the client (`env DOCKER_BUILDKIT=0 docker build`), without the network
built() {
    local context=$SHUNIT_TMPDIR/context base=$1 name=$2
    shift 2
    mkdir -p "$context"
    printf 'FROM %s\nCOPY file /built\n' "$base" > "$context/Dockerfile"
    # Another content each time, so that nothing comes from a cache.
    date +%s%N > "$context/file"
    "$@" --network none --tag "$name" "$context"
}

classic=(env DOCKER_BUILDKIT=0 docker build)
buildkit=(env DOCKER_BUILDKIT=1 docker build)

# builders VERB: each way to build that this command line has, as `VERB CLIENT...`
builders() {
    "$1" "${classic[@]}"
    ! has_buildkit_client || "$1" "${buildkit[@]}"
    ! has_buildx || "$1" docker buildx build --load
}

further_tests+=(test_build_is_refused)
test_build_is_refused() {
    in_posture_images
    refused $build_denied built scratch built:1.0 "${classic[@]}"
    refused $build_denied api POST /session -H 'Connection: Upgrade' -H 'Upgrade: h2c'
    refused $build_denied api POST /grpc -H 'Connection: Upgrade' -H 'Upgrade: h2c'
    builders build_is_blocked
    compose_file built:1.0 "build: $SHUNIT_TMPDIR/context"
    blocked $build_denied compose build
    if has_buildx; then
        blocked $build_denied docker buildx prune -f
        # A builder in a container of its own is an image like any.
        refused $registry_not_allowed denied_once docker buildx create --name own --driver docker-container --bootstrap
        docker buildx rm own > /dev/null 2>&1
    fi
    assertFalse "nothing was built" "docker image inspect built:1.0"
}

build_is_blocked() {
    blocked $build_denied built scratch built:1.0 "$@"
    printf '    refused   %s\n        %s\n' "$*" "$(tail -n 1 <<< "$output")"
}

further_tests+=(test_what_is_built_where_builds_are_allowed_does_not_run)
test_what_is_built_where_builds_are_allowed_does_not_run() {
    in_posture images ALLOW_HOST_ACCESS= BUILD=allow
    docker_signed
    builders build_is_allowed
    # In the stricter posture it has no effect.
    in_posture lockdown BUILD=allow
    builders build_is_blocked
    in_posture images ALLOW_HOST_ACCESS= BUILD=
    builders build_is_blocked
}

build_is_allowed() {
    local output status=0
    docker rmi -f built:1.0 > /dev/null 2>&1
    output=$(built registry.test:5000/app:1.0 built:1.0 "$@" 2>&1) || status=$?
    assertEquals "exit status of: $* -- $output" 0 "$status"
    assertTrue "it is here, by: $*" "docker image inspect built:1.0"
    refused $registry_not_allowed run built:1.0
    docker tag built:1.0 registry.test:5000/app:1.0
    refused $content_mismatch run registry.test:5000/app:1.0
    docker_signed
    # Its base is shown to nobody: any registry's will do. That is what BUILD=allow means.
    output=$(built foreign.test:5001/app:1.0 built:1.0 "$@" 2>&1) || status=$?
    assertEquals "exit status of: $* -- $output" 0 "$status"
    refused $registry_not_allowed run built:1.0
    docker rmi -f built:1.0 foreign.test:5001/app:1.0 > /dev/null 2>&1
}

# shellcheck shell=bash disable=SC2034,SC2086,SC2154  # words of tests.sh, which sources this
# Engines from 29.2 on serve HTTP/2 on the API's socket without TLS: gRPC, about which no plugin is asked, and calls whose headers
# hide more. `GODEBUG=http2server=0` in dockerd's environment closes it, and the rig starts every engine so; here both sides are tried.
# And what else these engines do otherwise: they tell no status of a call that failed, and trim white space off a new name.

# http2 METHOD TARGET [BODY [NAME=VALUE...]]: prints the answer
http2() { python3 "$RIG_TOOLS/../suite/http2.py" "$@"; }

# without_http2: says why a test of HTTP/2 does not run on this engine
without_http2() {
    ! serves_http2 || return
    echo "engine $engine_version does not serve cleartext HTTP/2 (before 29.2): there is nothing to close"
}

engine_with_http2() { RIG_GODEBUG='' engine restart; }

further_tests+=(test_grpc_that_nobody_is_asked_about)
test_grpc_that_nobody_is_asked_about() {
    local before output
    in_posture_images
    docker_signed
    if without_http2; then
        assertEquals "refused" "$(http2 POST /moby.buildkit.v1.Control/ListWorkers '' content-type=application/grpc te=trailers)"
        return
    fi
    # Closed.
    doctor
    found ok grpc-unasked
    assertEquals "refused" "$(http2 GET /_ping)"
    output=$(native_build 2>&1)
    assertNotEquals "a build over gRPC does not go through: $output" 0 $?

    # Open. The gate says so, wherever anybody looks.
    before=$(audit_lines)
    said=$(wc -l < "$RIG/log/dockerd.log")
    engine_with_http2
    wait_until 20 recorded "$before" '"event":"GATE"' 'gRPC over cleartext HTTP/2' 'GODEBUG=http2server=0'
    assertTrue "the audit log says that gRPC is open" $?
    wait_until 5 eval "tail -n +$((said + 1)) '$RIG/log/dockerd.log' | grep -q 'answers gRPC over cleartext HTTP/2'"
    assertTrue "the log says so" $?
    wait_until 20 metric 'img_authz_engine_grpc_unasked 1'
    assertTrue "and the metrics" $?
    doctor
    found critical grpc-unasked
    assertEquals "exit code" 2 "$doctor_status"
    assertContains "$(examined | grep -A 1 grpc-unasked | tail -n 1)" "→ a systemd drop-in for docker.service with [Service] and \
Environment=GODEBUG=http2server=0"
    # What it costs, with BUILD=deny: content of a registry that is not allowed comes in, and runs in the build.
    before=$(audit_lines)
    output=$(native_build 2>&1)
    assertEquals "a build over gRPC: $output" 0 $?
    assertTrue "it ran" "[[ -s $SHUNIT_TMPDIR/native/out/built ]]"
    recorded "$before" '"event":"BLOCKED"'
    assertFalse "nobody was asked" $?

    # Closed again.
    before=$(audit_lines)
    engine restart
    doctor
    found ok grpc-unasked
    not_found critical
    wait_until 20 metric 'img_authz_engine_grpc_unasked 0'
    assertTrue "the metrics say that it is closed" $?
}

metric() { grep -qxF -- "$1" "$(dirname "$(audit_log)")/metrics.prom"; }

# native_build: by buildx as a client of any BuildKit, over gRPC on the API's socket
native_build() {
    local status=0
    docker buildx rm native > /dev/null 2>&1
    docker buildx create --name native --driver remote unix:///run/docker.sock || return
    rm -rf "$SHUNIT_TMPDIR/native"
    mkdir "$SHUNIT_TMPDIR/native"
    printf 'FROM foreign.test:5001/app:1.0\nRUN echo %s > /built\n' "$(date +%s%N)" > "$SHUNIT_TMPDIR/native/Dockerfile"
    timeout 60 docker buildx build --builder native --network none --output type=local,dest="$SHUNIT_TMPDIR/native/out" \
        "$SHUNIT_TMPDIR/native" || status=$?
    docker buildx rm native > /dev/null 2>&1
    return $status
}

# As go-dockerclient pulls: with a Content-Type, without a body, and without a header that only HTTP/1 has.
empty_pull=(api POST '/images/create?fromImage=registry.test:5000/app&tag=1.0' -H 'Content-Type: plain/text' -H 'Content-Length: 0')

pull_of_go_dockerclient_passes() {
    local answer
    docker rmi -f registry.test:5000/app:1.0 > /dev/null 2>&1
    answer=$("${empty_pull[@]}")
    assertNotContains "the pull passes" "$answer" "authorization denied"
    assertTrue "the image is here: $answer" "docker image inspect registry.test:5000/app:1.0"
}

pull_of_go_dockerclient_is_refused() {
    refused $request_unreadable "${empty_pull[@]}"
    assertContains "$denial" "Content-Type"
    assertContains "$denial" "HTTP2=closed"
}

# The form that such a pull may hide: of two Content-Length headers the engine takes the first.
hidden_form() {
    local form='fromImage=foreign.test:5001/app&tag=1.0'
    http2 POST '/images/create?fromImage=registry.test:5000/app&tag=1.0' "$form" content-type=application/x-www-form-urlencoded \
        content-length=${#form} content-length=0
}

further_tests+=(test_empty_call_with_a_content_type)
test_empty_call_with_a_content_type() {
    local before
    in_posture_images
    docker_signed
    if without_http2; then
        pull_of_go_dockerclient_passes
        engine restart
        pull_of_go_dockerclient_passes
        return
    fi
    # Nobody has said that HTTP/2 is closed.
    pull_of_go_dockerclient_is_refused
    reconfigure HTTP2=closed
    pull_of_go_dockerclient_passes
    doctor
    found ok http2-setting grpc-unasked
    not_found critical warning

    # Said, and not true any more.
    before=$(audit_lines)
    engine_with_http2
    pull_of_go_dockerclient_is_refused
    wait_until 20 recorded "$before" '"event":"GATE"' 'HTTP2=closed is set'
    assertTrue "the audit log says that the setting is not believed" $?
    doctor
    found warning http2-setting
    # Without the gate the form's image comes, unless the engine was built by a Go that refuses two lengths (1.27).
    before_the_gate hidden_form > "$SHUNIT_TMPDIR/form"
    if [[ $(< "$SHUNIT_TMPDIR/form") = reset ]]; then
        echo "    engine $engine_version refuses two headers Content-Length over HTTP/2 itself"
        assertEquals "reset" "$(hidden_form)"
    else
        assertTrue "it comes: $(< "$SHUNIT_TMPDIR/form")" "docker image inspect foreign.test:5001/app:1.0"
        docker rmi -f foreign.test:5001/app:1.0 > /dev/null 2>&1
        refused $request_unreadable http2_denial
    fi
    assertFalse "the form's image did not come" "docker image inspect foreign.test:5001/app:1.0"

    engine restart
    pull_of_go_dockerclient_passes
    reconfigure HTTP2=
    pull_of_go_dockerclient_is_refused
}

# As `api` is, for `refused`: its exit status says nothing.
http2_denial() {
    hidden_form
    return 1
}

# --- Calls that fail, of which newer engines tell no status ---

further_tests+=(test_what_failed_is_not_taken_for_done)
test_what_failed_is_not_taken_for_done() {
    local before id
    in_posture images ALLOW_HOST_ACCESS= FRESHNESS=2
    # A pull that fails after the signed tag has moved on: what is here was not brought by it.
    publish registry.test:5000/fails:1.0 "as signed first" > /dev/null
    sign_with_notary registry.test:5000/fails:1.0
    docker rmi -f registry.test:5000/fails:1.0 > /dev/null
    pulled registry.test:5000/fails:1.0
    prints "as signed first" run registry.test:5000/fails:1.0
    docker tag registry.test:5000/fails:1.0 kept:1.0
    publish registry.test:5000/fails:1.0 "as signed then" > /dev/null
    sign_with_notary registry.test:5000/fails:1.0
    docker tag kept:1.0 registry.test:5000/fails:1.0
    docker rmi kept:1.0 > /dev/null
    # Until the gate asks Notary again.
    wait_until 60 fails_is_refused
    assertTrue "what is here is not what is signed now" $?
    before=$(audit_lines)
    unplug_registry
    assertFalse "the pull fails" "docker pull registry.test:5000/fails:1.0"
    plug_registry
    sleep 3
    recorded "$before" '"event":"MISMATCH"'
    status=$?
    assertFalse "nothing was brought: $(tail -n "+$((before + 1))" "$(audit_log)")" $status
    docker rmi -f registry.test:5000/fails:1.0 > /dev/null

    # A create that fails makes nothing, and gives its name back at once.
    docker_signed
    before=$(audit_lines)
    id=$(docker create --name taken --network none registry.test:5000/app:1.0)
    wait_until 5 recorded "$before" '"event":"CREATED"' "$id"
    assertTrue "the create that succeeds is recorded" $?
    before=$(audit_lines)
    assertFalse "the name is taken" "docker create --name taken --network none registry.test:5000/app:1.0"
    assertFalse "the network is not there" "docker create --name again --network nowhere registry.test:5000/app:1.0 && docker start again"
    docker rm -f again > /dev/null 2>&1
    sleep 1
    assertFalse "no CREATED without a container" "tail -n '+$((before + 1))' '$(audit_log)' | grep CREATED | grep -q '\"container_id\":\"\"'"
    docker rm -f taken > /dev/null

    # A start that fails starts nothing, and is no other content's.
    docker create --name broken --network none registry.test:5000/app:1.0 /no/such/program > /dev/null
    before=$(audit_lines)
    assertFalse "the program is not there" "docker start broken"
    sleep 2
    recorded "$before" '"event":"KILLED"' || recorded "$before" '"event":"MISMATCH"'
    status=$?
    assertFalse "nothing is killed: $(tail -n "+$((before + 1))" "$(audit_log)")" $status
    # The name is free for others at once.
    assertTrue "the name can be given" "docker rename broken mended"
    docker rm -f mended > /dev/null
    prints "signed by docker trust, 1.0" run --name broken registry.test:5000/app:1.0
    reconfigure FRESHNESS=
}

fails_is_refused() { ! docker create registry.test:5000/fails:1.0 > /dev/null 2>&1; }

unplug_registry() { ip address del 198.51.100.1/32 dev lo; }
plug_registry() { ip address add 198.51.100.1/32 dev lo; }

# --- White space around names ---

# What Go's strings.TrimSpace cuts off: of ASCII and of the rest of Unicode.
spaces=(%20 %C2%A0 %E3%80%80 %0A %09 %0D %C2%85 %E1%9A%80 %E2%80%83 %E2%80%A8)

name_of() { docker inspect -f '{{.Name}}' "$1"; }

further_tests+=(test_white_space_around_a_name)
test_white_space_around_a_name() {
    local container good space trimmed=0
    in_posture_images
    docker_signed
    docker rm -f web > /dev/null 2>&1
    # Without the gate: what the engine makes of it.
    engine gate none
    container=$(docker create --name other --network none "$(evil)")
    for space in "${spaces[@]}"; do
        api POST "/containers/$container/rename?name=${space}web$space" > /dev/null
        if [[ $(name_of "$container") = /web ]]; then
            trimmed=$((trimmed + 1))
            docker rename web other
        fi
    done
    printf '    without the gate %s of %s names with white space became /web\n' $trimmed ${#spaces[@]}
    assertEquals "names that the engine trims" "$(trims_names && echo ${#spaces[@]} || echo 0)" $trimmed
    engine gate "$PLUGIN"

    # With it: no such name is given, trimmed or not; nor one that is another container's id, trimmed.
    good=$(docker create --name good --network none registry.test:5000/app:1.0)
    for space in "${spaces[@]:0:4}"; do
        refused $request_unreadable api POST "/containers/$container/rename?name=${space}web$space"
        refused $request_unreadable api POST "/containers/$container/rename?name=$good$space"
        refused $request_unreadable api POST "/containers/create?name=web$space" -H 'Content-Type: application/json' \
            -d '{"Image": "registry.test:5000/app:1.0"}'
        # The engine trims the old name as well.
        api POST "/containers/${space}good/rename?name=web" > /dev/null
    done
    assertEquals "/other" "$(name_of "$container")"
    assertEquals "/good" "$(name_of "$good")"
    docker rm -f "$container" "$good" > /dev/null
}

# --- The gate's own calls ---

further_tests+=(test_own_calls_carry_an_api_version)
test_own_calls_carry_an_api_version() {
    local calls spoken=$engine_api
    at_least "$engine_api" 1.52 || spoken=1.52
    in_posture_images
    docker_signed
    said=$(wc -l < "$RIG/log/dockerd.log")
    engine restart --debug
    prints "signed by docker trust, 1.0" run registry.test:5000/app:1.0
    # Of clients none asks by curl here, so what has no version is the gate's; the engine writes each call it carries out.
    calls=$(tail -n "+$((said + 1))" "$RIG/log/dockerd.log" | grep -o 'Calling [A-Z]* [^"[:space:]]*\|request-url="\?[^"[:space:]]*' |
        sed 's/.*[= "]//' | grep '^/' | sort | uniq -c)
    engine restart
    printf '%s\n' "$calls" | sed 's/^/    /'
    assertContains "calls about images" "$calls" "/v$spoken/images/"
    assertEquals "calls without a version, but for the questions for it" "" "$(grep -v ' /v1\.' <<< "$calls" | grep -v ' /version$\| /_ping$')"
    assertEquals "calls of a version that looks on the network" "" "$(grep '/v1\.5[3-9]/\|/v1\.[6-9]' <<< "$calls")"
}

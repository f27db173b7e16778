# shellcheck shell=bash disable=SC2154
# One file that is a manifest and a configuration at once: what is vouched for is the manifest, and what is loaded is the
# configuration, which has other layers. On a real engine, for each who vouches. Sourced by tests.sh, whose words it uses.

not_in_allowlist='not-in-allowlist'
not_in_registry='not-in-registry'
trust_invalid='trust-invalid'

twofaced=registry.test:5000/twofaced:1.0

# make_twofaced: pushes the manifest and leaves `evil.tar` in $faces, an archive whose configuration is the same file; sets `face`,
# the file's digest
make_twofaced() {
    local repository=https://registry.test:5000/v2/twofaced type
    faces=$SHUNIT_TMPDIR/twofaced
    mkdir -p "$faces"
    # The layers and the configuration of the good one are in the registry then.
    publish registry.test:5000/twofaced:base "the good face" > /dev/null
    docker rmi -f registry.test:5000/twofaced:base > /dev/null
    image_archive "$twofaced" "the evil face" | tar -x -C "$faces"
    read -r _ _ type < <(manifest registry.test:5000/twofaced:base)
    curl -sf --cacert "$RIG/pki/ca.crt" -H "Accept: $type" "$repository/manifests/base" -o "$faces/base.json"
    # Go takes of each what it knows, and `config` is a descriptor to one and a command to the other.
    python3 - "$faces/base.json" "$faces/config.json" << 'END'
import json, sys
manifest, configuration = (json.load(open(path)) for path in sys.argv[1:])
both = {**configuration, **manifest, "config": {**configuration["config"], **manifest["config"]}}
open(sys.argv[2], "w").write(json.dumps(both))
END
    curl -sf --cacert "$RIG/pki/ca.crt" -X PUT "$repository/manifests/1.0" -H "Content-Type: $type" --data-binary "@$faces/config.json"
    assertTrue "the registry takes it for a manifest" $?
    tar -C "$faces" -c manifest.json config.json layer.tar > "$faces/evil.tar"
    face=sha256:$(sha256sum "$faces/config.json" | cut -d' ' -f1)
    assertEquals "the manifest's digest" "$face" "$(manifest "$twofaced" | cut -d' ' -f1)"
}

# load_evil: the archive's image on the host, under the signed name; sets `evil_id`
load_evil() {
    docker images -q --no-trunc registry.test:5000/twofaced | sort -u | xargs -r docker rmi -f > /dev/null 2>&1
    docker load -i "$faces/evil.tar" > /dev/null
    evil_id=$(docker inspect -f '{{.Id}}' "$twofaced")
}

# The engine's own: in the classic store an image's id is its configuration's digest.
has_classic_store() { [[ $(docker info -f '{{.DriverStatus}}') != *io.containerd.snapshotter* ]]; }

run_evil() { run "$evil_id"; }

further_tests+=(test_a_file_with_two_faces_runs_as_what_was_signed_alone)
test_a_file_with_two_faces_runs_as_what_was_signed_alone() {
    local list=/etc/docker/img-authz/allowlist.json evil_id face faces
    make_twofaced
    sign_with_notary "$twofaced"

    # Without the gate it runs, and in the classic store by the very digest that is signed.
    engine gate none
    load_evil
    says "the evil face" run_evil
    ! has_classic_store || assertEquals "the image's id" "$face" "$evil_id"
    engine gate "$PLUGIN"

    # Notary.
    refused "$content_mismatch" run "$twofaced"
    refused "$not_signed" run_evil
    refused "$not_signed" docker create "$evil_id"
    docker rmi -f "$evil_id" > /dev/null
    pulled "$twofaced"
    prints "the good face" run "$twofaced"
    prints "the good face" run "registry.test:5000/twofaced@$face"
    # Beside the good one, whose approval is on record.
    docker load -i "$faces/evil.tar" > /dev/null
    refused "$content_mismatch" run "$twofaced"
    refused "$not_signed" run_evil

    # An allowlist: the digest is the manifest's, and nothing else's.
    mkdir -p "${list%/*}"
    printf '{"version": 1, "entries": [{"digest": "%s", "references": ["%s"]}]}' "$face" "$twofaced" > "$list"
    reconfigure NOTARY=off FRESHNESS=0
    load_evil
    refused "$not_in_allowlist" run "$twofaced"
    refused "$not_in_allowlist" run_evil
    pulled "$twofaced"
    prints "the good face" run "$twofaced"
    # An image id is no manifest's digest either; and in the containerd store it is nothing.
    printf '{"version": 1, "entries": [{"image_id": "%s", "references": ["%s"]}]}' "$face" "$twofaced" > "$list"
    docker images -q --no-trunc registry.test:5000/twofaced | sort -u | xargs -r docker rmi -f > /dev/null 2>&1
    refused "$not_in_allowlist" docker pull "registry.test:5000/twofaced@$face"
    load_evil
    if has_classic_store; then
        # Who writes that approves the evil face, knowingly.
        prints "the evil face" run_evil
    else
        refused "$not_in_allowlist" run_evil
    fi
    rm "$list"

    # The registry alone: content from elsewhere is not looked for there, and what has two faces is no manifest.
    reconfigure NOTARY=off
    load_evil
    refused "$not_in_registry" run "$twofaced"
    refused "$not_in_registry" run_evil
    docker rmi -f "$evil_id" > /dev/null
    docker pull "$twofaced" > /dev/null 2>&1
    refused "$trust_invalid" run "$twofaced"

    docker images -q --no-trunc registry.test:5000/twofaced | sort -u | xargs -r docker rmi -f > /dev/null 2>&1
    reconfigure NOTARY=https://notary.test:4443 FRESHNESS=
    docker_signed
}

# shellcheck shell=bash
# Images made without a base: busybox, and a file /id that tells one image's content from another's. Sourced by the suite
# and the demo, which run inside the private machine.

# image_tree DIR TEXT: the files of an image whose container prints TEXT
image_tree() {
    local applet
    mkdir -p "$1/bin"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for applet in sh cat echo sleep; do ln -sf busybox "$1/bin/$applet"; done
    printf '%s\n' "$2" > "$1/id"
}

# image_archive REFERENCE TEXT [ARCHITECTURE]: the same as `docker save` writes it; without a name where REFERENCE is empty
#
#   IMAGE_CONFIG='"User": "1000"'          further members of its configuration, as JSON
#   IMAGE_CREATED=2026-01-02T03:04:05Z     when it says it was created; 1970
#   IMAGE_HISTORY='RUN x'                  what it says made its layer
image_archive() {
    local dir architecture=${3:-$(dpkg --print-architecture)}
    dir=$(mktemp -d)
    image_tree "$dir/tree" "$2"
    tar -C "$dir/tree" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$dir/layer.tar" .
    cat > "$dir/config.json" << END
{"architecture": "$architecture", "os": "linux", "created": "${IMAGE_CREATED:-1970-01-01T00:00:00Z}",
 "config": {"Cmd": ["/bin/cat", "/id"]${IMAGE_CONFIG:+, $IMAGE_CONFIG}},
 "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "${IMAGE_HISTORY:-}"}],
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)"]}}
END
    printf '[{"Config": "config.json", "RepoTags": [%s], "Layers": ["layer.tar"]}]\n' "${1:+\"$1\"}" > "$dir/manifest.json"
    tar -C "$dir" -c manifest.json config.json layer.tar
    rm -rf "$dir"
}

# make_image REFERENCE TEXT [ARCHITECTURE]: load it into the engine; prints its id
make_image() {
    local loaded
    loaded=$(image_archive "$@" | docker load | sed -n 's/^Loaded image.*: \(.*:.*\)$/\1/p')
    docker image inspect -f '{{.Id}}' "$loaded"
}

# publish REFERENCE TEXT [ARCHITECTURE]: make it and push it; prints the digest that the registry has it under
publish() {
    make_image "$@" > /dev/null
    push "$1"
}

push() { docker push "$1" | sed -n 's/.* digest: \(sha256:[0-9a-f]*\) .*/\1/p'; }

# manifest REFERENCE: digest, length and type of what the registry has under it, an image or an index of several
manifest() {
    local repository=${1%:*} tag=${1##*:} docker=application/vnd.docker.distribution.manifest oci=application/vnd.oci.image
    curl -sfI --cacert "$RIG/pki/ca.crt" "https://${repository%%/*}/v2/${repository#*/}/manifests/$tag" \
        -H "Accept: $docker.v2+json, $docker.list.v2+json, $oci.manifest.v1+json, $oci.index.v1+json" | tr -d '\r' |
        awk -F': ' '{found[tolower($1)] = $2}
            END {print found["docker-content-digest"], found["content-length"], found["content-type"]}'
}

# publish_index REFERENCE TAG:ARCHITECTURE...: an index of these tags of the same repository
publish_index() {
    local repository=${1%:*} tag=${1##*:} member digest length type list=''
    shift
    for member; do
        read -r digest length type < <(manifest "$repository:${member%:*}")
        list+="${list:+, }{\"mediaType\": \"$type\", \"size\": $length, \"digest\": \"$digest\",
            \"platform\": {\"os\": \"linux\", \"architecture\": \"${member#*:}\"}}"
    done
    type=application/vnd.docker.distribution.manifest.list.v2+json
    curl -sf --cacert "$RIG/pki/ca.crt" -X PUT "https://${repository%%/*}/v2/${repository#*/}/manifests/$tag" \
        -H "Content-Type: $type" -d "{\"schemaVersion\": 2, \"mediaType\": \"$type\", \"manifests\": [$list]}"
}

# sign_with_docker REFERENCE: `docker trust`, into targets/releases and targets/maker
sign_with_docker() { docker trust sign "$1" > /dev/null; }

# sign_with_notary REFERENCE: the `notary` client, straight into targets
sign_with_notary() {
    local repository=${1%:*} tag=${1##*:} digest length client=(notary -c "$RIG/notary.json")
    read -r digest length _ < <(manifest "$1")
    "${client[@]}" list "$repository" > /dev/null 2>&1 || "${client[@]}" init -p "$repository" > /dev/null
    "${client[@]}" addhash -p "$repository" "$tag" "$length" --sha256 "${digest#sha256:}" > /dev/null
}

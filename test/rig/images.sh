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

# make_image REFERENCE TEXT: import it into the engine; prints its id
make_image() {
    local tree
    tree=$(mktemp -d)
    image_tree "$tree" "$2"
    tar -C "$tree" --sort=name -c . | docker import -c 'CMD ["/bin/cat", "/id"]' - "$1"
    rm -rf "$tree"
}

# publish REFERENCE TEXT: make it and push it; prints the digest that the registry has it under
publish() {
    make_image "$1" "$2" > /dev/null
    push "$1"
}

push() { docker push "$1" | sed -n 's/.* digest: \(sha256:[0-9a-f]*\) .*/\1/p'; }

# sign_with_docker REFERENCE: `docker trust`, into targets/releases and targets/maker
sign_with_docker() { docker trust sign "$1" > /dev/null; }

# sign_with_notary REFERENCE: the `notary` client, straight into targets
sign_with_notary() {
    local repository=${1%:*} tag=${1##*:} head digest length client=(notary -c "$RIG/notary.json")
    head=$(curl -sfI --cacert "$RIG/pki/ca.crt" -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        "https://${repository%%/*}/v2/${repository#*/}/manifests/$tag" | tr -d '\r')
    digest=$(awk -F': ' 'tolower($1) == "docker-content-digest" {print $2}' <<< "$head")
    length=$(awk -F': ' 'tolower($1) == "content-length" {print $2}' <<< "$head")
    "${client[@]}" list "$repository" > /dev/null 2>&1 || "${client[@]}" init -p "$repository" > /dev/null
    "${client[@]}" addhash -p "$repository" "$tag" "$length" --sha256 "${digest#sha256:}" > /dev/null
}

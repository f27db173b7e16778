#!/bin/bash
# A Debian of another release in a folder, for its newer Docker engine and command line.
#
#   tree.sh make RELEASE           print the folder, made by debootstrap if it is not in the cache yet
#   tree.sh booted                 print the folder of Debian 12 with systemd and its own engine, to be booted
#   tree.sh go RELEASE             print the path of that release's `go`, with which its engine was built
#   tree.sh signer NAME RELEASE    print the path of that release's `cosign` or `notation`, which sign images for the suite
#   tree.sh collector RELEASE      print the path of an OpenTelemetry collector, built of that release's sources
#   tree.sh registry RELEASE       print the path of a registry that keeps the list of what points at an image, built likewise
#   tree.sh run FOLDER COMMAND...  become the command, with the folder as its root. Runs inside the private machine, whose
#                                  /run, /etc/docker, /etc/hosts, scratch folder and checkout it shares
#   tree.sh beside COMMAND...      become the command where the engine runs
set -euo pipefail
. "$(dirname "$0")/lib.sh"

make_tree() {
    local release=$1 tree=$cache/engine-$1 site scripts=/usr/share/debootstrap/scripts
    local include=docker.io,docker-cli,docker-buildx,docker-compose,iptables,procps,ca-certificates
    # A tree of other packages than these is made anew.
    if [[ $(cat "$tree.complete" 2> /dev/null) != "$include" ]]; then
        # A release younger than this debootstrap is made by the script of the one it knows, in a folder of ours.
        if [[ ! -e $scripts/$release ]]; then
            mkdir -p "$cache/debootstrap"
            cp -a /usr/share/debootstrap/. "$cache/debootstrap/"
            ln -sf sid "$cache/debootstrap/scripts/$release"
            export DEBOOTSTRAP_DIR=$cache/debootstrap
        fi
        site=$(mirror)
        say "engine of Debian $release: debootstrap"
        rm -rf "$tree" "$tree.complete"
        debootstrap --variant=minbase --include="$include" "$release" "$tree" "$site" > "$cache/engine-$release.log" 2>&1 ||
            { tail -n 20 "$cache/engine-$release.log" >&2; die "debootstrap failed"; }
        rm -f "$tree"/var/cache/apt/archives/*.deb
        printf '%s\n' "$include" > "$tree.complete"
    fi
    printf '%s\n' "$tree"
}

make_booted() {
    local tree=$cache/booted site
    if [[ ! -e $tree.complete ]]; then
        site=$(mirror)
        say "Debian 12 with systemd and docker: debootstrap"
        rm -rf "$tree"
        mkdir -p "$cache"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,docker.io,iptables,ca-certificates,busybox-static bookworm "$tree" \
            "$site" > "$cache/booted.log" 2>&1 || { tail -n 20 "$cache/booted.log" >&2; die "debootstrap failed"; }
        rm -f "$tree"/var/cache/apt/archives/*.deb
        touch "$tree.complete"
    fi
    printf '%s\n' "$tree"
}

# lists RELEASE: what its archive has today
lists() {
    make_tree "$1" > /dev/null
    # Signed still; a mirror may hold a testing release longer than its lists are said to be valid.
    chroot "$cache/engine-$1" apt-get -qq -o Acquire::Check-Valid-Until=false update > /dev/null
}

# fetched RELEASE FOLDER ARGUMENT...: the packages that apt-get downloads at these words, unpacked into the folder
fetched() {
    local tree=$cache/engine-$1 folder=$2 into deb
    shift 2
    into=$(mktemp -d "$tree/tmp/packages.XXXXXX")
    # As /tmp itself: apt-get lets another user download.
    chmod 1777 "$into"
    mkdir -p "$folder" "$into/partial"
    # shellcheck disable=SC2016  # expanded there
    chroot "$tree" sh -c 'cd "$0" && exec apt-get -qq -o Dir::Cache::archives="$0" "$@"' "${into#"$tree"}" "$@" > /dev/null
    for deb in "$into"/*.deb; do dpkg-deb --extract "$deb" "$folder"; done
    rm -rf "$into"
}

make_go() {
    local release=$1 go=$cache/go-$1 version
    if [[ ! -e $go.complete ]]; then
        lists "$release"
        rm -rf "$go"
        version=$(chroot "$cache/engine-$release" apt-cache depends golang-go | sed -n 's/.*Depends: golang-\([0-9.]*\)-go$/\1/p')
        say "Go $version of Debian $release: downloading"
        fetched "$release" "$go" download "golang-$version-go" "golang-$version-src"
        # It finds its library from where it lies.
        ln -s "usr/lib/go-$version/bin/go" "$go/go"
        touch "$go.complete"
    fi
    printf '%s\n' "$go/go"
}

make_signer() {
    local name=$1 release=$2 signer=$cache/$1-$2
    if [[ ! -e $signer.complete ]]; then
        lists "$release"
        rm -rf "$signer"
        say "$name of Debian $release: downloading"
        fetched "$release" "$signer" download "$name"
        touch "$signer.complete"
    fi
    printf '%s\n' "$signer/usr/bin/$name"
}

# make_program NAME RELEASE ARGUMENT...: test/NAME/main.go, with the sources that apt-get downloads at these words
make_program() {
    local name=$1 release=$2 folder=$cache/$1-$2 sources=$cache/$1-$2/usr/share/gocode main=$repo/test/$1/main.go
    shift 2
    # That of another main.go is made anew.
    if ! cmp -s "$main" "$folder.complete"; then
        make_go "$release" > /dev/null
        lists "$release"
        rm -rf "$folder" "$folder.complete"
        say "$name of Debian $release: downloading its sources"
        fetched "$release" "$folder" "$@"
        say "$name: compiling"
        mkdir -p "$sources/src/$name"
        cp "$main" "$sources/src/$name/"
        env -u GOFLAGS GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 GOPATH="$sources" GOCACHE="$folder/build" \
            "$cache/go-$release/go" build -o "$folder/$name" "$name"
        # Up to two gigabytes.
        rm -rf "${folder:?}"/usr "${folder:?}"/build
        cp "$main" "$folder.complete"
    fi
    printf '%s\n' "$folder/$name"
}

# It needs some hundred others; none is installed.
make_collector() { make_program collector "$1" install -y --no-install-recommends --download-only golang-opentelemetry-collector-dev; }

# Its registry needs none of the hundreds that its other parts do.
make_registry() { make_program registry "$1" download golang-github-google-go-containerregistry-dev; }

run_in() {
    local tree=$1 path
    shift
    : "${RIG:?the scratch folder of the rig}"
    if [[ ${in_tree:-} != "$tree" ]]; then
        in_tree=$tree exec unshare --mount --propagation private "$0" run "$tree" "$@"
    fi
    mount --bind "$tree" "$tree"
    # The folders made here to mount on are not the tree's.
    mkdir -p "$tree$(dirname "$RIG")"
    mount -t tmpfs tmpfs "$tree$(dirname "$RIG")"
    for path in /proc /sys /dev /run /etc/docker "$RIG"; do
        mkdir -p "$tree$path"
        mount --rbind "$path" "$tree$path"
    done
    mkdir -p "$tree$repo"
    mount --bind "$repo" "$tree$repo"
    for path in /etc/hosts /etc/resolv.conf; do
        [[ -e $tree$path ]] || : > "$tree$path"
        mount --bind "$path" "$tree$path"
    done
    mkdir -p "$tree/old"
    cd "$tree"
    # A mere chroot is not enough: containerd mounts things of its own on /.
    pivot_root . old
    umount --lazy /old
    exec /usr/bin/env -u in_tree "$@"
}

beside() {
    # shellcheck disable=SC2016  # expanded there
    exec nsenter --target "$(< "$RIG/pid/dockerd")" --mount -- /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

case ${1:-} in
make) make_tree "$2" ;;
booted) make_booted ;;
go) make_go "$2" ;;
signer) make_signer "$2" "$3" ;;
collector) make_collector "$2" ;;
registry) make_registry "$2" ;;
run) shift; run_in "$@" ;;
beside) shift; beside "$@" ;;
*) die "tree.sh: make, booted, go, signer, collector, registry, run or beside" ;;
esac

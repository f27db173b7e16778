#!/bin/bash
# A Debian of another release in a folder, for its newer Docker engine and command line.
#
#   tree.sh make RELEASE           print the folder, made by debootstrap if it is not in the cache yet
#   tree.sh booted                 print the folder of Debian 12 with systemd and its own engine, to be booted
#   tree.sh go RELEASE             print the path of that release's `go`, with which its engine was built
#   tree.sh signer NAME RELEASE    print the path of that release's `cosign` or `notation`, which sign images for the suite
#   tree.sh collector RELEASE      print the path of an OpenTelemetry collector, built of that release's sources
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

make_go() {
    local release=$1 go=$cache/go-$1 tree version deb
    if [[ ! -e $go.complete ]]; then
        make_tree "$release" > /dev/null
        tree=$(make_tree "$release")
        rm -rf "$go"
        mkdir "$go"
        # Signed still; a mirror may hold a testing release longer than its lists are said to be valid.
        chroot "$tree" apt-get -qq -o Acquire::Check-Valid-Until=false update > /dev/null
        version=$(chroot "$tree" apt-cache depends golang-go | sed -n 's/.*Depends: golang-\([0-9.]*\)-go$/\1/p')
        say "Go $version of Debian $release: downloading"
        chroot "$tree" sh -c "cd /tmp && apt-get -qq download golang-$version-go golang-$version-src"
        for deb in "$tree"/tmp/golang-*.deb; do
            dpkg-deb --extract "$deb" "$go"
            rm "$deb"
        done
        # It finds its library from where it lies.
        ln -s "usr/lib/go-$version/bin/go" "$go/go"
        touch "$go.complete"
    fi
    printf '%s\n' "$go/go"
}

make_signer() {
    local name=$1 release=$2 signer=$cache/$1-$2 tree
    if [[ ! -e $signer.complete ]]; then
        tree=$(make_tree "$release")
        rm -rf "$signer"
        mkdir "$signer"
        chroot "$tree" apt-get -qq -o Acquire::Check-Valid-Until=false update > /dev/null
        say "$name of Debian $release: downloading"
        chroot "$tree" sh -c "cd /tmp && apt-get -qq download $name"
        dpkg-deb --extract "$tree"/tmp/"$name"_*.deb "$signer"
        rm "$tree"/tmp/"$name"_*.deb
        touch "$signer.complete"
    fi
    printf '%s\n' "$signer/usr/bin/$name"
}

make_collector() {
    local release=$1 collector=$cache/collector-$1 tree go deb sources
    if [[ ! -e $collector.complete ]]; then
        tree=$(make_tree "$release")
        go=$(make_go "$release")
        sources=$collector/usr/share/gocode
        rm -rf "$collector" "$tree/tmp/collector"
        mkdir -p "$collector" "$tree/tmp/collector/partial"
        chroot "$tree" apt-get -qq -o Acquire::Check-Valid-Until=false update > /dev/null
        say "OpenTelemetry's collector of Debian $release: downloading its sources"
        # They need some hundred others; none is installed.
        chroot "$tree" apt-get -qq -y --no-install-recommends -o Dir::Cache::archives=/tmp/collector \
            install --download-only golang-opentelemetry-collector-dev > /dev/null
        for deb in "$tree"/tmp/collector/*.deb; do dpkg-deb --extract "$deb" "$collector"; done
        rm -rf "$tree/tmp/collector"
        say "OpenTelemetry's collector: compiling"
        mkdir -p "$sources/src/collector"
        cp "$repo/test/collector/main.go" "$sources/src/collector/"
        env -u GOFLAGS GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 GOPATH="$sources" GOCACHE="$collector/cache" \
            "$go" build -o "$collector/otelcol" collector
        # Two gigabytes.
        rm -rf "${collector:?}"/usr "${collector:?}"/cache
        touch "$collector.complete"
    fi
    printf '%s\n' "$collector/otelcol"
}

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
run) shift; run_in "$@" ;;
beside) shift; beside "$@" ;;
*) die "tree.sh: make, booted, go, signer, collector, run or beside" ;;
esac

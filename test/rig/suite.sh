#!/bin/bash
# The end-to-end suite, whole: packages, the plugin by its Dockerfile, a sealed machine with registries, Notary and an engine,
# images signed, the plugin created and enabled, test/tests.sh. Stops and removes everything, also when it fails.
#
#   suite.sh [TEST...]    only these tests, if any are named
#
#   RIG_ROOTFS=container|compile|keep   how plugin/rootfs is made (rootfs.sh), or left as it is; container
#   RIG_ENGINE=machine|RELEASE          this machine's engine, or that of a Debian release (tree.sh); machine
#   RIG_DOCKERD=PATH                    a dockerd that is in no Debian release, with containerd and runc of forky's tree
#   RIG_STORE=classic|containerd        the engine's image store; classic
#   RIG_SAMPLE=engine|calls             a part of the tests (tests.sh): for CI, on engines beside the first
#   RIG_KEEP=1                          keep the scratch folder, with its logs
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$here/machine.sh"
[[ -z ${RIG_DOCKERD:-} || ${RIG_ENGINE:-forky} = forky ]] || { echo 'RIG_DOCKERD runs in the tree of forky' >&2; exit 1; }
[[ -z ${RIG_DOCKERD:-} ]] || RIG_ENGINE=forky
: "${RIG_ROOTFS:=container}" "${RIG_ENGINE:=machine}" "${RIG_STORE:=classic}"

RIG=''
finish() {
    if (($1)) && [[ -s $RIG/log/dockerd.log ]]; then
        say "the last that the engine and the plugin had to say"
        grep -v 'level=info.*\(shim\|loading plugin\|signal loop\|ignoring event\|loop on \)' "$RIG/log/dockerd.log" |
            tail -n "${RIG_LOG_LINES:-60}" >&2
    fi
    [[ -z $RIG ]] || machine_stop "$RIG"
    if [[ -n ${RIG_KEEP:-} ]]; then say "kept: $RIG"; else rm -rf "$RIG"; fi
}

need_root
packages "${engine_packages[@]}" "${service_packages[@]}" "${suite_packages[@]}"
on_exit finish
[[ $RIG_ROOTFS = keep ]] || attended "$here/rootfs.sh" "$RIG_ROOTFS"
if [[ $RIG_ENGINE != machine ]]; then
    packages "${build_packages[@]}"
    attended "$here/tree.sh" make "$RIG_ENGINE" > /dev/null
    tree=$("$here/tree.sh" make "$RIG_ENGINE")
fi
# They come from forky's archive, so where that tree is here anyway.
if [[ $RIG_ENGINE = forky ]]; then
    for name in cosign notation; do attended "$here/tree.sh" signer $name forky > /dev/null; done
    cosign=$("$here/tree.sh" signer cosign forky)
    notation=$("$here/tree.sh" signer notation forky)
    attended "$here/tree.sh" registry forky > /dev/null
    registry=$("$here/tree.sh" registry forky)
fi

RIG=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
say "private machine: starting"
machine_start "$RIG" sealed
# Debian's programs alone, whatever else this machine has: the command line, too, is that of the engine's release.
echo 'PATH=/usr/sbin:/usr/bin:/sbin:/bin' >> "$RIG/env"
[[ -z ${cosign:-} ]] || printf '%s\n' "RIG_COSIGN=$cosign" "RIG_NOTATION=$notation" "RIG_REGISTRY=$registry" >> "$RIG/env"
inside "$RIG" "$here/services.sh" start
inside "$RIG" "$here/engine.sh" start
say "images: making, pushing and signing"
attended inside "$RIG" bash "$here/fixture.sh" > "$RIG/log/fixture.log" 2>&1 || { cat "$RIG/log/fixture.log" >&2; exit 1; }
if [[ $RIG_ENGINE != machine || $RIG_STORE != classic ]]; then
    # `docker trust` signs on the classic store only, so all images were made on this machine's engine.
    inside "$RIG" "$here/engine.sh" stop
    rm "$RIG/etc-docker/daemon.json"
    printf '%s\n' "RIG_DATA=$RIG/data-$RIG_ENGINE" "RIG_TREE=${tree:-}" "RIG_STORE=$RIG_STORE" >> "$RIG/env"
    if [[ -n ${RIG_DOCKERD:-} ]]; then
        # The scratch folder is the one that the tree shares.
        install -m 755 "$RIG_DOCKERD" "$RIG/dockerd"
        echo "RIG_PROGRAM=$RIG/dockerd" >> "$RIG/env"
    fi
    inside "$RIG" "$here/engine.sh" start
fi
if [[ -n ${tree:-} ]]; then
    mkdir "$RIG/bin"
    printf '#!/bin/sh\nRIG=%q exec %q beside /usr/bin/docker "$@"\n' "$RIG" "$here/tree.sh" > "$RIG/bin/docker"
    chmod 755 "$RIG/bin/docker"
    echo "PATH=$RIG/bin:/usr/sbin:/usr/bin:/sbin:/bin" >> "$RIG/env"
fi
tested=$(inside "$RIG" "$here/engine.sh" versions)
say "engine: $tested"
# What is recorded as tested must be what it was to be, and not this machine's engine once more.
case $RIG_ENGINE:$tested in
*:*", $RIG_STORE store,"*) ;;
*) die "the engine has not the $RIG_STORE store" ;;
esac
case $RIG_ENGINE:$tested in
machine:* | trixie:"dockerd 26."*"CLI 26."* | forky:"dockerd "2[89].*"CLI "2[89].* | forky:"dockerd "[3-9]?.*"CLI "[3-9]?.*) ;;
*) die "not the engine and command line that Debian $RIG_ENGINE was to bring" ;;
esac
version=${tested#dockerd }
version=${version%%,*}
if [[ -n ${RIG_DOCKERD:-} ]]; then
    given=$("$RIG/dockerd" --version)
    [[ $given = "Docker version $version,"* ]] || die "the engine is not the one given: $given"
fi
grep -qF "$version" "$repo/docs/engines.md" || say "docs/engines.md does not name dockerd $version"
say "plugin: create, set, enable"
attended inside "$RIG" "$here/install.sh" > "$RIG/log/install.log" 2>&1 || { cat "$RIG/log/install.log" >&2; exit 1; }
say "tests"
attended inside "$RIG" bash "$repo/test/tests.sh" ${1:+-- "$@"}
if ((!$#)) && [[ -z ${RIG_SAMPLE:-} ]]; then
    say "the same tests as users run them, against a plugin that is installed"
    attended inside "$RIG" env -u RIG AUTHZ_IMG=registry.test:5000/app AUTHZ_IMG_TAG=registry.test:5000/app:1.0 \
        AUTHZ_IMG_FULL=registry.test:5000/tool:1.0 UNAUTHZ_IMG=foreign.test:5001/app:1.0 bash "$repo/test/tests.sh"
fi
say "passed on $tested"
mkdir -p "$cache"
kind=${RIG_SAMPLE:+a sample of the tests}
printf '%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$tested" "${*:-${kind:-all tests}}" >> "$cache/passed"

#!/bin/bash
# A shell with a private engine, to try docs/hardening.md in. Nothing of this machine's own Docker is touched, and all is gone when the shell
# ends. With arguments: runs that command there instead.
set -euo pipefail
. "$(dirname "$0")/rig/lib.sh"
# shellcheck source=rig/machine.sh
. "$here/machine.sh"

RIG=''
# shellcheck disable=SC2317  # called by on_exit
finish() {
    [[ -z $RIG ]] || machine_stop "$RIG"
    rm -rf "$RIG"
}
on_exit finish

need_root
packages "${engine_packages[@]}" busybox:busybox-static
[[ $(ldd "$(command -v busybox)" 2>&1) != *'=>'* ]] || die "busybox needs libraries, which the image would lack: install busybox-static"
RIG=$(mktemp -d "${RIG_SCRATCH:-/var/tmp}/img-authz.XXXXXX")
echo "A private engine starts …" >&2
machine_start "$RIG" sealed
# With a bridge and firewall rules of its own, as an engine has them that was only installed.
inside "$RIG" "$here/engine.sh" start --bridge= --iptables=true

# An image with a shell and small tools.
tree=$RIG/tmp/toolbox
mkdir -p "$tree"/{bin,tmp,etc}
cp "$(command -v busybox)" "$tree/bin/busybox"
for applet in $(busybox --list); do [[ $applet = busybox ]] || ln -s busybox "$tree/bin/$applet"; done
chmod 1777 "$tree/tmp"
# shellcheck disable=SC2016  # expanded there
inside "$RIG" bash -c 'tar -C "$TMPDIR/toolbox" -c . | docker import --change "CMD [\"sh\"]" - toolbox:1.0 > /dev/null'

# The command line, where it has been compiled.
binary=$here/../../plugin/rootfs/img-authz
cat > "$RIG/home/.bashrc" << END
PS1='sandbox# '
$([[ ! -x $binary ]] || printf 'img-authz() { %q "$@"; }\n' "$(realpath "$binary")")
END
if (($#)); then
    inside "$RIG" "$@"
else
    echo "DOCKER_HOST is this engine; the image toolbox:1.0 is there. docs/hardening.md says what to try; exit ends it all." >&2
    [[ -x $binary ]] || echo "img-authz is not compiled here: make build, then start again." >&2
    inside "$RIG" bash --rcfile "$RIG/home/.bashrc" -i || true
fi

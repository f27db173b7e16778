#!/bin/bash
# Replaces a managed plugin of this host by the one in plugin/rootfs, and keeps its state (audit log, trust data, records) and its
# settings. Docker has no upgrade from a folder: `docker plugin rm` removes the state with the plugin, so it is copied first, and
# the copy goes last. Run as root on the engine's host, while the plugin is disabled.
#
#   upgrade.sh PLUGIN
set -euo pipefail
cd "$(dirname "$0")/.."
plugin=${1:?the name of the plugin}
docker=${DOCKER:-docker}
fail() { printf '%s\n' "$@" >&2; exit 1; }

((EUID == 0)) || fail 'run this as root: the state folder is root'\''s'
# shellcheck disable=SC2016  # words for people
[[ -x plugin/rootfs/img-authz ]] || fail 'plugin/rootfs is empty: run `make build` first'
old=$($docker plugin inspect -f '{{.Id}}' "$plugin") || fail "there is no plugin $plugin to upgrade: \`make create\` makes one"
[[ $($docker plugin inspect -f '{{.Enabled}}' "$plugin") = false ]] ||
    fail "plugin $plugin is enabled. First take it out of daemon.json, reload the daemon, and \`docker plugin disable $plugin\`"
root=$($docker info -f '{{.DockerRootDir}}')
state=$root/plugins/$old/propagated-mount
[[ -d $root/plugins/$old ]] || fail "$root/plugins/$old is not here: run this on the engine's own host"

# What was set, as `docker plugin set` takes it. Values may have many lines, so each ends with a zero.
settings() {
    $docker plugin inspect -f '{{json .Settings}}' "$1" | python3 -c '
import json, sys
settings = json.load(sys.stdin)
for line in settings["Env"]:
    sys.stdout.write(line + "\0")
for mount in settings["Mounts"]:
    if "source" in (mount.get("Settable") or []):
        sys.stdout.write("%s.source=%s\0" % (mount["Name"], mount["Source"]))
'
}
command -v python3 > /dev/null || fail 'python3 is needed, to read the settings that docker shows'
# Beside the plugins, on the same disk, where only root comes.
kept=$(mktemp -d "$root/img-authz-upgrade.XXXXXX")
settings "$plugin" > "$kept/settings"
[[ ! -d $state ]] || cp -a "$state" "$kept/state"
sync -f "$kept"
trap 'echo "the upgrade ended half way: state and settings are in $kept, whole (settings: NAME=value, each ended by a zero byte)" >&2' EXIT

$docker plugin rm "$plugin" > /dev/null
$docker plugin create "$plugin" plugin > /dev/null
new=$($docker plugin inspect -f '{{.Id}}' "$plugin")
if [[ -d $kept/state ]]; then
    [[ ! -e $root/plugins/$new/propagated-mount ]] || rmdir "$root/plugins/$new/propagated-mount"
    cp -a "$kept/state" "$root/plugins/$new/propagated-mount"
fi
# What this version does not know any more cannot be set, nor what it fixes itself.
names=$($docker plugin inspect -f '{{range .Config.Env}}{{if .Settable}}{{.Name}} {{end}}{{end}}{{range .Config.Mounts}}{{.Name}} {{end}}' \
    "$plugin")
fixed=$($docker plugin inspect -f '{{range .Config.Env}}{{if not .Settable}}{{.Name}} {{end}}{{end}}' "$plugin")
known=() given=() dropped=()
read -ra known <<< "$names"
while IFS= read -r -d '' line; do
    name=${line%%=*}
    if [[ " ${known[*]} " = *" ${name%.source} "* ]]; then
        given+=("$line")
    elif [[ " $fixed" != *" $name "* ]]; then
        dropped+=("$name")
    fi
done < "$kept/settings"
((!${#given[@]})) || $docker plugin set "$plugin" "${given[@]}"
((!${#dropped[@]})) || echo "left out, this version has no such setting: ${dropped[*]}" >&2
trap - EXIT
rm -rf "$kept"
echo "$plugin is upgraded, with its state and settings. Next: docker plugin enable $plugin, name it in daemon.json, reload the daemon"

#!/bin/bash
# The plugin of plugin/rootfs, installed and in force with the rig's settings. Runs inside the private machine.
#
#   install.sh [NAME=VALUE...]    further settings
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
make -s -C "$here/../.." create settings enable PLUGIN_NAME=img-authz PLUGIN_TAG=latest REGISTRY=registry.test:5000 \
    NOTARY=https://notary.test:4443 NOTARY_ROOT_CA="$(< "$RIG/pki/ca.crt")" "$@"
"$here/engine.sh" gate img-authz:latest

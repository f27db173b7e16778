#!/bin/bash
# Clients of the Docker API that Debian does not have, as PyPI and npm have them, kept in the cache: docker-py, Testcontainers for
# Python and for Node, dockerode, the devcontainers CLI. Prints their folder: `venv/bin/python`, `node_modules`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# One folder for each set of versions.
python=(docker==7.2.0 testcontainers==4.15.0)
# The newest that Debian 12's Node takes.
node=(dockerode@5.0.1 testcontainers@10.28.0 @devcontainers/cli@0.80.3)

need_root
packages python3:python3 node:nodejs npm:npm
python3 -c 'import ensurepip' 2> /dev/null || packages /nowhere:python3-venv
dir=$cache/clients-$(printf '%s\n' "${python[@]}" "${node[@]}" | sha256sum | cut -c 1-12)
if [[ ! -e $dir/complete ]]; then
    say "installing ${python[*]} ${node[*]}"
    rm -rf "$dir"
    mkdir -p "$dir"
    {
        python3 -m venv "$dir/venv"
        "$dir/venv/bin/pip" install "${python[@]}"
        # Without scripts: nothing of them is run here, and what they would compile is not needed.
        npm install --prefix "$dir" --no-save --ignore-scripts "${node[@]}"
    } > "$dir/log" 2>&1 || { tail -n 30 "$dir/log" >&2; die "the clients could not be installed"; }
    : > "$dir/complete"
fi
printf '%s\n' "$dir"

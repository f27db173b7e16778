# shellcheck shell=bash disable=SC2034,SC2154
# What the engines under test differ in, as far as a test has to know: each difference once, here. docs/engines.md tells them to
# people. Sourced by tests.sh.

engine_version=$(docker version -f '{{.Server.Version}}')
engine_min_api=$(docker version -f '{{.Server.MinAPIVersion}}')
engine_api=$(docker version -f '{{.Server.APIVersion}}')
cli_version=$(docker version -f '{{.Client.Version}}')

# at_least VERSION FOUND
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) = "$1" ]]; }

# A body of 1 MiB or more: hidden from plugins (CVE-2026-34040), which the gate refuses unread, or shown, and judged. Debian has
# mended its 26.1 and 28.5, and not its 20.10.
hides_large_bodies() { [[ $engine_version = 20.10.* ]]; }

# HTTP/2 on the API's socket without TLS, unless dockerd's environment closes it. A version that is not a release's may have it.
serves_http2() { at_least 29.2 "$engine_version"; }

# White space around a container's new name is cut off, and not refused.
trims_names() { at_least 29.0 "$engine_version"; }

# A second image's files in a container. Older engines refuse the type, behind the gate.
has_image_mounts() { at_least 1.48 "$engine_api"; }

# The command line builds with BuildKit: of itself up to 20.10, by buildx from 23 on.
has_buildkit_client() { ! at_least 23 "$cli_version" || docker buildx version > /dev/null 2>&1; }

# buildx is a command of its own.
has_buildx() { docker buildx version > /dev/null 2>&1; }

# Commands of the host run where the engine does: for an engine of another release that is a mount namespace, which ends with it.
host_outlives_the_engine() { [[ -z ${RIG_TREE:-} ]]; }

# Compose is a plugin of the command line, or was a program before that.
compose_command=(docker compose)
docker compose version > /dev/null 2>&1 || compose_command=(docker-compose)

#!/bin/bash
# The first process of a private machine (machine.sh): lays out what is private, then waits.
#
#   machine-init.sh DIR open|sealed
set -euo pipefail
dir=$1 network=$2

# The resolver's file may lie below /run, which is about to be another folder.
resolver=$(readlink -f /etc/resolv.conf || true)
if [[ $resolver = /run/* && -e $resolver ]]; then
    mkdir -p "$dir/run/$(dirname "${resolver#/run/}")"
    cp "$resolver" "$dir/run/${resolver#/run/}"
fi
mount --bind "$dir/run" /run
mount --bind "$dir/etc-docker" /etc/docker
mount --bind "$dir/hosts" /etc/hosts

# A machine without an init system has mounted no control groups, which runc needs.
if ! grep -q ' cgroup2\? ' /proc/self/mounts; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

if [[ $network = sealed ]]; then
    ip link set lo up
    while read -r address _; do
        [[ $address = 127.* ]] || ip address add "$address/32" dev lo
    done < /etc/hosts
fi
touch "$dir/ready"
# As the first process it inherits orphans: bash reaps them while it waits.
while :; do sleep 3600 & wait $!; done

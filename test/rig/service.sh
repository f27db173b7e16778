#!/bin/bash
# Starts, stops and signals one process of the rig, by its pid. Runs inside the private machine.
#
#   service.sh start NAME COMMAND...    in the background; log in $RIG/log/NAME.log
#   service.sh stop NAME                TERM, and KILL after 20 s
#   service.sh signal NAME SIGNAL
#   service.sh running NAME
set -euo pipefail
: "${RIG:?the scratch folder of the rig}"
verb=$1 name=$2
shift 2
file=$RIG/pid/$name

running() { [[ -s $file ]] && kill -0 "$(< "$file")" 2> /dev/null; }

case $verb in
start)
    if running; then exit 0; fi
    setsid "$@" >> "$RIG/log/$name.log" 2>&1 < /dev/null &
    echo $! > "$file"
    ;;
stop)
    running || exit 0
    pid=$(< "$file")
    kill "$pid"
    for _ in $(seq 200); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null || true
    rm -f "$file"
    ;;
signal) kill -"$1" "$(< "$file")" ;;
running) running ;;
*) echo "service.sh: unknown verb $verb" >&2; exit 1 ;;
esac

#!/bin/sh
# Plays the reaper that Testcontainers start from an image of their own: hears by which labels a session's things are
# known, and removes them when the session hangs up. Its client is the one under test, by the socket that is mounted.
#
#   reaper.sh         listens at port 8080 for one session
#   reaper.sh serve   talks to it: a line for each filter, answered by ACK

export DOCKER_HOST=unix:///var/run/docker.sock

if [ "$1" != serve ]; then
    echo "reaper: Started!"
    exec nc -l -p 8080 -e "$0" serve
fi

while IFS= read -r line; do
    line=${line%"$(printf '\r')"}
    set -- "$@" --filter "$line"
    echo ACK
done
shift
[ $# -gt 0 ] || exit
# The reaper itself may bear the session's label; its host name is the beginning of its id.
for container in $(wharf ps -aq "$@"); do
    [ "$container" = "$HOSTNAME" ] || wharf rm -fv "$container"
done >&2
wharf network prune -f "$@" >&2
wharf volume prune -af "$@" >&2

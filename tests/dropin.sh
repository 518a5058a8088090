#!/usr/bin/env bash
# wharf-runtime in runc's place: Docker, containerd and Podman each run, exec, pause, update and stop containers by it.
#
#   tests/dropin.sh [--runtime FILE] PREFIX...
#
# PREFIX is a command that runs another command where those engines are installed (a container, a chroot, `ssh host`;
# `env` for this machine): its standard input must reach the command. Needed there: root, dockerd, containerd (running,
# at its usual socket), ctr, podman, busybox.
#
# Nobody else there is disturbed: a dockerd of its own without networks, a namespace of its own in containerd, storage
# of its own for Podman; all of it in one directory that is removed at the end.
set -euo pipefail

cd "$(dirname "$0")/.."
runtime=target/debug/wharf-runtime
usage() { echo "usage: tests/dropin.sh [--runtime FILE] PREFIX..." >&2; exit 2; }
if [[ ${1:-} == --runtime ]]; then
  [[ $# -ge 2 ]] || usage
  runtime=$2; shift 2
fi
[[ $# -ge 1 ]] || usage
[[ -x $runtime ]] || { echo "dropin: $runtime: build it first" >&2; exit 1; }

work=/var/tmp/wharf-dropin-$$
"$@" sh -c "mkdir -p $work && cat >$work/wharf-runtime && chmod 755 $work/wharf-runtime" <"$runtime"
exec "$@" env WORK="$work" bash -s <<'INSIDE'
set -uo pipefail
cd "$WORK"
name=wharf-dropin-$$ failed=0 dockerd=

clean() {
  for id in $(podman_ ps -aq 2>/dev/null); do podman_ rm -f -t 0 "$id" >/dev/null 2>&1; done
  if [ -n "$dockerd" ]; then
    for id in $(docker_ ps -aq); do docker_ rm -f "$id" >/dev/null 2>&1; done
    kill "$dockerd" 2>/dev/null && wait "$dockerd" 2>/dev/null
  fi
  for space in "$name" "$name-docker" "$name-plugins"; do
    ctr -n "$space" tasks ls -q 2>/dev/null | xargs -r -n1 ctr -n "$space" tasks rm -f >/dev/null 2>&1
    ctr -n "$space" containers ls -q 2>/dev/null | xargs -r ctr -n "$space" containers rm >/dev/null 2>&1
    ctr -n "$space" images ls -q 2>/dev/null | xargs -r ctr -n "$space" images rm --sync >/dev/null 2>&1
    ctr -n "$space" snapshots ls 2>/dev/null | awk 'NR>1{print $1}' | xargs -r -n1 ctr -n "$space" snapshots rm >/dev/null 2>&1
    ctr -n "$space" content ls -q 2>/dev/null | xargs -r ctr -n "$space" content rm >/dev/null 2>&1
    ctr namespaces rm "$space" >/dev/null 2>&1
  done
  # What containerd and dockerd call a container's place after, empty by now.
  find /sys/fs/cgroup -mindepth 1 -depth -type d -path "*/$name*" -exec rmdir {} + 2>/dev/null
  cd / && grep -o " $WORK[^ ]*" /proc/self/mounts | sort -r | xargs -r umount -l 2>/dev/null
  rm -rf --one-file-system "$WORK"
}
trap clean EXIT

# check WHAT EXPECTED COMMAND...: what the command prints must match the pattern.
check() {
  what=$1 expected=$2; shift 2
  got=$("$@" 2>&1 </dev/null) # the script itself is our standard input
  if printf '%s\n' "$got" | grep -q -- "$expected"; then echo "ok    $what"
  else echo "FAILED $what: wanted $expected, got: $got"; failed=1; fi
}
podman_() { PODMAN_IGNORE_CGROUPSV1_WARNING=1 podman --root "$WORK/podman" --runroot "$WORK/podman-run" \
  --runtime "$WORK/wharf-runtime" --cgroup-manager cgroupfs --storage-driver vfs "$@"; }
docker_() { docker -H "unix://$WORK/docker.sock" "$@"; }
first_word() { tr '\0' ' ' <"/proc/$1/cmdline"; }

# A root with nothing but busybox, as an image of each.
mkdir -p root/bin root/tmp root/etc && cp "$(command -v busybox)" root/bin/busybox
for applet in sh sleep cat echo id true kill; do ln -s busybox "root/bin/$applet"; done
echo 'root:x:0:0::/:/bin/sh' >root/etc/passwd
tar -C root -cf image.tar .

echo "# Podman"
podman_ import -q image.tar "$name" >/dev/null 2>&1
check "run in the foreground" "^hello 7$" sh -c "$(declare -f podman_); WORK=$WORK; out=\$(podman_ run --rm --network none $name sh -c 'echo hello; exit 7'); echo \$out \$?"
check "run detached" "^[0-9a-f]\{64\}$" podman_ run -d --name one --network none --memory 64m "$name" sleep 1000
check "the runtime is ours" "wharf-runtime" podman_ inspect one --format '{{.OCIRuntime}}'
check "exec" "^uid=0" podman_ exec one id
check "exec with a terminal" "^tty" podman_ exec -t one sh -c 'test -t 1 && echo tty'
check "exec's status" "^status 3" sh -c "$(declare -f podman_); WORK=$WORK; podman_ exec one sh -c 'exit 3'; echo status \$?"
check "pause" "paused" sh -c "$(declare -f podman_); WORK=$WORK; podman_ pause one >/dev/null; podman_ inspect one --format '{{.State.Status}}'"
check "unpause" "running" sh -c "$(declare -f podman_); WORK=$WORK; podman_ unpause one >/dev/null; podman_ inspect one --format '{{.State.Status}}'"
check "update" "^[0-9a-f]\{64\}$" podman_ update --pids-limit 77 --memory 80m one
check "the update reached the kernel" "77" podman_ exec one sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null'
check "top" "sleep 1000" podman_ top one
check "stop" "^one$" podman_ stop -t 1 one
check "its status" "^137$" podman_ inspect one --format '{{.State.ExitCode}}'
check "start again" "^one$" podman_ start one
check "remove" "^one$" podman_ rm -f -t 0 one
check "a program that is missing" "executable file.*not found in \$PATH" podman_ run --rm --network none "$name" absent

echo "# Docker"
mkdir -p docker-exec docker-data
printf '{"runtimes":{"wharf":{"path":"%s"}},"default-runtime":"wharf"}' "$WORK/wharf-runtime" >daemon.json
dockerd --config-file "$WORK/daemon.json" --data-root "$WORK/docker-data" --exec-root "$WORK/docker-exec" \
  --pidfile "$WORK/docker.pid" -H "unix://$WORK/docker.sock" --containerd /run/containerd/containerd.sock \
  --containerd-namespace "$name-docker" --containerd-plugins-namespace "$name-plugins" \
  --bridge none --iptables=false --ip6tables=false --storage-driver vfs --feature containerd-snapshotter=false \
  >"$WORK/dockerd.log" 2>&1 &
dockerd=$!
for _ in $(seq 100); do docker_ version >/dev/null 2>&1 && break; sleep 0.2; done
docker_ import image.tar "$name" >/dev/null 2>&1 || tail -5 "$WORK/dockerd.log"
check "the runtime is ours" "^wharf$" docker_ info --format '{{.DefaultRuntime}}'
check "run in the foreground" "^hello" docker_ run --rm --network none "$name" sh -c 'echo hello'
check "run detached" "^[0-9a-f]\{64\}$" docker_ run -d --name one --network none --memory 64m "$name" sleep 1000
check "exec" "^uid=0" docker_ exec one id
check "exec with a terminal" "^tty" docker_ exec -t one sh -c 'test -t 1 && echo tty'
check "exec's status" "^status 3" sh -c "docker -H unix://$WORK/docker.sock exec one sh -c 'exit 3'; echo status \$?"
check "pause" "^one$" docker_ pause one
check "paused" "^paused$" docker_ inspect one --format '{{.State.Status}}'
check "unpause" "^one$" docker_ unpause one
check "update" "^one$" docker_ update --memory 80m --memory-swap 80m --pids-limit 77 one
check "the update reached the kernel" "77" docker_ exec one sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null'
check "top" "sleep 1000" docker_ top one
check "statistics" "[0-9]" docker_ stats --no-stream --format '{{.PIDs}}' one
check "stop" "^one$" docker_ stop -t 1 one
check "its status" "^137$" docker_ inspect one --format '{{.State.ExitCode}}'
check "start again" "^one$" docker_ start one
check "kill" "^one$" docker_ kill one
check "remove" "^one$" docker_ rm -f one
check "a program that is missing" "executable file not found in \$PATH" docker_ run --rm --network none "$name" absent
check "a program that is a directory" "is a directory" docker_ run --rm --network none "$name" /etc

echo "# containerd"
ctr_() { ctr -n "$name" "$@"; }
docker_ save "$name" 2>/dev/null | ctr_ images import - >/dev/null 2>&1
image=$(ctr_ images ls -q | head -n1)
check "run in the foreground" "^hello" ctr_ run --rm --runc-binary "$WORK/wharf-runtime" "$image" zero sh -c 'echo hello'
check "run detached" "^$" ctr_ run -d --runc-binary "$WORK/wharf-runtime" --memory-limit 67108864 "$image" one sleep 1000
check "it runs" "one.*RUNNING" ctr_ tasks ls
check "exec" "^uid=0" ctr_ tasks exec --exec-id e1 one id
check "exec's status" "^status 3" sh -c "ctr -n $name tasks exec --exec-id e2 one sh -c 'exit 3' 2>/dev/null; echo status \$?"
check "pause" "PAUSED" sh -c "ctr -n $name tasks pause one; ctr -n $name tasks ls"
check "resume" "RUNNING" sh -c "ctr -n $name tasks resume one; ctr -n $name tasks ls"
check "its processes" "^[0-9]" sh -c "ctr -n $name tasks ps one | tail -n +2"
check "metrics" "memory" ctr_ tasks metrics one
check "stop" "STOPPED" sh -c "ctr -n $name tasks kill -s KILL one; sleep 1; ctr -n $name tasks ls"
check "delete" "^$" sh -c "ctr -n $name tasks rm one 2>&1 | grep -v 137; ctr -n $name containers rm one"

[ $failed = 0 ] && echo "dropin: all passed"
exit $failed
INSIDE

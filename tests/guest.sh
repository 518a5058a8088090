#!/bin/sh
# Runs test programs that were built on the host, inside another machine that sees the same checkout.
# Called by `cargo xtask guest`; the arguments come in threes: folder, program, filter (empty: all tests).
# Needs there: iproute2, nftables, procps, util-linux, busybox-static; other programs come along in target/guest-tools.
set -u
checkout=$(cd "$(dirname "$0")/.." && pwd)
export PATH="$checkout/target/guest-tools/bin:$PATH"
# State lies on a file system of the machine itself: the checkout may be a network share.
export TMPDIR=/var/tmp
# The first cpuset and the last make the kernel rewrite its own code, which an emulated machine of several processors
# does not always survive. So there is one all the time.
if [ -d /run/systemd/system ]; then
    systemd-run --quiet -p AllowedCPUs=0 sleep infinity
fi
# Runtimes execute themselves and come without a script that brings their libraries: the loader learns of those that the
# machine lacks. (Nothing in /run may be executed.)
tools=$checkout/target/guest-tools
lacking=$(ldd "$tools/bin/crun" "$tools/bin/runc" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u)
if [ -n "$lacking" ]; then
    mkdir -p /usr/local/lib/guest-tools
    for library in $lacking; do cp "$tools/lib/$library" /usr/local/lib/guest-tools/; done
    echo /usr/local/lib/guest-tools > /etc/ld.so.conf.d/guest-tools.conf
    ldconfig
fi
# Where their packages put them, and so where tests name them.
[ -e /usr/sbin/runc ] || ln -s "$tools/bin/runc" /usr/sbin/runc
[ -e /usr/bin/crun ] || ln -s "$tools/bin/crun" /usr/bin/crun
failed=0
while [ $# -ge 3 ]; do
    echo "== $2 $3"
    # A slow machine with few processors: one test at a time, so that none starves another into its time-out.
    (cd "$1" && exec "$2" --test-threads 1 ${3:+"$3"}) || failed=1
    shift 3
done
exit $failed

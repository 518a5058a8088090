#!/bin/sh
# Runs the black box tests that were built on the host, inside another machine that sees the same checkout.
# Called by `cargo xtask guest -- PREFIX...`. Needs there: iproute2, nftables, curl, socat, busybox-static, script.
set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
newest=$(ls -t "$checkout"/target/debug/deps/blackbox-* | grep -v '\.d$' | head -n 1)
# State lies on a file system of the machine itself: the checkout may be a network share.
export TMPDIR=/var/tmp
exec "$newest" --test-threads 1

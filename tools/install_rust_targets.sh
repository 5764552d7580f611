#!/bin/sh
# Adds what rustup is asked for by tests: a processor without an operating system, and WASI; and
# the sources of Rust's core, which judge the simulated QNX's headers.
# Without rustup nothing is done, and each test that wants a target says so.
set -eu

command -v rustup >/dev/null 2>&1 || exit 0
installed=$(rustup target list --installed)
rustup component list --installed | grep -q '^rust-src' || rustup component add rust-src ||
    echo "setup: rustup could not add the component rust-src; its tests will fail"
for target in "$@"; do
    echo "$installed" | grep -qx "$target" && continue
    rustup target add "$target" || echo "setup: rustup could not add the target $target; its tests will be left out"
done

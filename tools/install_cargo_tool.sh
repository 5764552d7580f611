#!/bin/sh
# install_cargo_tool.sh PROGRAM CRATE VERSION [FEATURES]: puts a program into build/tools/bin.
# One of just that version on the PATH is taken as it is; without a fitting cargo a line says
# so, and what needs the program is left out.
set -eu
program=$1 crate=$2 version=$3 features=${4:-}
here=$(dirname "$0")
bin=$here/../build/tools/bin

is_wanted() { [ "$("$1" --version 2>/dev/null | awk '{print $2}')" = "$version" ]; }

mkdir -p "$bin"
if is_wanted "$bin/$program"; then exit 0; fi
found=$(command -v "$program" || true)
if [ -n "$found" ] && is_wanted "$found"; then
    ln -sf "$found" "$bin/$program"
elif "$here"/have_cargo.sh "$program"; then
    set -- ${features:+--no-default-features --features "$features"}
    CARGO_TARGET_DIR=$here/../build/cargo-tools cargo install --quiet --locked \
        --root "$here/../build/tools" --version "=$version" "$@" "$crate"
    rm -rf "$here/../build/cargo-tools"
fi

#!/bin/sh
# have_cargo.sh WHAT: is there a cargo that can build WHAT? If not, one line says so.
# The crates are of the edition 2024, which cargo knows from 1.85 on.
version=$(cargo --version 2>/dev/null | awk '{print $2}')
if [ -z "$version" ]; then
    echo "left out, as cargo is not installed: $1"
    exit 1
fi
if [ "$(printf '1.85\n%s\n' "$version" | sort -V | head -n 1)" != 1.85 ]; then
    echo "left out, as cargo is $version and 1.85 is needed: $1"
    exit 1
fi

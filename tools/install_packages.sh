#!/bin/sh
# Installs the Debian packages that building and testing need, those that are missing only.
# Without the right to install it prints the one line to run, and ends well: what can be done
# without them goes on, and each test that wants one of them says so.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

# The compiler for the guests; its run-time library's package carries its version in the name.
clang_version() {
    if have clang; then
        clang -dumpversion | cut -d. -f1
    elif have apt-cache; then
        apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1
    fi
}

missing=""
want() { missing="$missing $*"; }

have gcc || want gcc
have g++ || want g++
have cmake || want cmake
have pkg-config || want pkg-config
python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv
python3 -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null || want python3-dev

if [ "${1:-}" = "--bench" ]; then # what others are compared with
    [ -e /usr/include/uv.h ] || want libuv1-dev
    [ -e /usr/include/liburing.h ] || want liburing-dev
    [ -e /usr/include/seccomp.h ] || want libseccomp-dev
    have bwrap || want bubblewrap
elif [ "${1:-}" != "--build-only" ]; then
    have clang || want clang
    have wasm-ld || want lld
    have valgrind || want valgrind
    have mandoc || want mandoc
    have arm-none-eabi-gcc || want gcc-arm-none-eabi
    have aarch64-linux-gnu-gcc || want gcc-aarch64-linux-gnu
    [ -e /usr/aarch64-linux-gnu/lib/libc.a ] || want libc6-dev-arm64-cross
    have qemu-aarch64 || want qemu-user
    echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1 || want libnewlib-arm-none-eabi
    [ -e /usr/include/wasm32-wasi ] || want wasi-libc
    if [ "$(uname -m)" = x86_64 ]; then # the virtual machine; its kernel is not a package here
        have qemu-system-x86_64 || want qemu-system-x86
        have busybox || want busybox-static
        have modprobe || [ -x /sbin/modprobe ] || want kmod
        have cpio || want cpio
        have secilc || [ -x /usr/bin/secilc ] || want secilc
        have xz || want xz-utils
    fi
    version=$(clang_version)
    if [ -n "$version" ]; then
        ls /usr/lib/llvm-"$version"/lib/clang/*/lib/wasi/*builtins-wasm32.a >/dev/null 2>&1 ||
            want "libclang-rt-$version-dev-wasm32"
        [ -e "/usr/lib/llvm-$version/lib/libclang.so.1" ] || want "libclang1-$version"
    fi
fi

[ -n "$missing" ] || exit 0
if ! have apt-get; then
    echo "setup: these Debian packages or their like are missing:$missing"
elif [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
elif have sudo && sudo -n true 2>/dev/null; then
    sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "setup: not allowed to install packages; for the whole of it run: sudo apt-get install$missing"
fi

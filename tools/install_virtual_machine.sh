#!/bin/sh
# Puts what boots the tests' virtual machine into build/vm: Debian's kernel, and an initrd that
# finds this machine's own files (tests/vm.py tells the rest). The kernel is downloaded and
# unpacked, never installed: this machine's boot is none of our business.
# Where that can't be done one line says why, and the tests that want the machine are left out.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
folder=$here/build/vm
modules="virtio_pci 9pnet_virtio 9p overlay virtio_blk"
PATH=$PATH:/usr/sbin:/sbin

leave() {
    echo "setup: no virtual machine for the tests: $1"
    exit 0
}

have() { command -v "$1" >/dev/null 2>&1; }

[ "$(uname -m)" = x86_64 ] || leave "its kernel is for x86_64, this is $(uname -m)"
for program in qemu-system-x86_64 busybox modprobe depmod cpio xz apt-get apt-cache dpkg; do
    have $program || leave "$program is not installed"
done
# One that wants libraries would find none so early: its loader stands in the program.
grep -q '/lib64/ld-linux' "$(command -v busybox)" && leave "busybox is not the static one, busybox-static"
package=$(apt-cache depends linux-image-amd64 2>/dev/null |
    sed -n 's/.*Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -n 1)
[ -n "$package" ] || leave "apt knows no package linux-image-amd64"
[ "$(cat "$folder/package" 2>/dev/null)" = "$package" ] && exit 0

rm -rf "$folder"
mkdir -p "$folder/unpack/root/bin" "$folder/unpack/root/mod"
cd "$folder/unpack"
apt-get download -qq "$package" >log 2>&1 || leave "$package could not be downloaded: $(tail -n 1 log)"
dpkg -x ./*.deb kernel
release=$(basename kernel/boot/vmlinuz-*)
release=${release#vmlinuz-}
[ -d kernel/lib ] || mv kernel/usr/lib kernel/lib
depmod -b kernel "$release"

# The modules, in the order in which they are loaded.
: >root/mod/order
for module in $modules; do
    modprobe -d kernel -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' >files
while read -r file; do
    name=$(basename "$file")
    name=${name%.xz}
    name=${name%.zst}
    case $file in
    *.xz) xz -dc "$file" >"root/mod/$name" ;;
    *.zst) zstd -qdc "$file" >"root/mod/$name" ;;
    *) cp "$file" "root/mod/$name" ;;
    esac
    echo "$name" >>root/mod/order
done <files
for name in proc sys dev lower rw new; do mkdir "root/$name"; done
cp "$(command -v busybox)" root/bin/busybox
cp "$here/tests/support/vm_init.sh" root/init
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet) >../initrd
cp "kernel/boot/vmlinuz-$release" ../vmlinuz
cd "$folder"
rm -rf unpack
echo "$package" >package

#!/bin/sh
# kernel.sh OUT BASE DEB...: a kernel's image and modules from its packages into OUT, in a namespace of its own.
# Its packages are not installed: dpkg in the VM has what the target's has, and no kernel.
set -eu
umask 022
out=$1 base=$2
shift 2
mkdir -p "$out/layer/usr"
for deb; do dpkg-deb --extract "$deb" "$out/all"; done
for image in "$out"/all/boot/vmlinuz-*; do
    [ -f "$image" ] || { echo "no boot/vmlinuz in the kernel's packages" >&2; exit 1; }
    mv "$image" "$out/vmlinuz"
    version=${image##*/vmlinuz-}
done
mkdir -p "$out/layer/usr/lib/modules"
# These become folders of the VM: neither the builder's umask nor its folders' setgid bit may show there.
chmod 00755 "$out/layer" "$out/layer/usr" "$out/layer/usr/lib" "$out/layer/usr/lib/modules"
for modules in "$out/all/lib/modules/$version" "$out/all/usr/lib/modules/$version"; do
    [ ! -d "$modules" ] || mv "$modules" "$out/layer/usr/lib/modules/"
done
rm -rf "$out/all"
# depmod is the base's own: this machine may have none. It looks below lib, which is a link on a merged system.
ln -s usr/lib "$out/layer/lib"
mount --bind "$out/layer" "$base/mnt"
chroot "$base" depmod -b /mnt "$version"
chmod 644 "$out/vmlinuz"

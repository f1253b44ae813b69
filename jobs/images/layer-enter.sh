#!/bin/sh
# layer-enter.sh ROOT RELEASE GUEST INSIDE ARGUMENT...: make ROOT this process's root for good, and run INSIDE in it.
set -eu
root=$1 release=$2 guest=$3 inside=$4
shift 4
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mkdir -p "$root/run/lock" "$root/run/toto/release"
mount --bind "$release" "$root/run/toto/release"
mount -o remount,bind,ro "$root/run/toto/release"
cp "$guest" "$root/run/toto/guest.tar"
cp "$inside" "$root/run/toto/inside"
cd "$root"
pivot_root . .
umount -l .
cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive sh /run/toto/inside "$@"

#!/bin/sh
# base.sh OUT REPOSITORY PACKAGE...: a base image of these packages, and no others, in a namespace of its own.
# --mode=root, since the namespace is the one that --mode=unshare would make.
set -eu
umask 022
out=$1 repository=$2
shift 2
packages=$(printf '%s,' "$@")
# On an overlay of its own, since such a one can be volatile: none of dpkg's many syncs is carried out, one at the end is.
made=$out.made
mkdir "$out" "$made" "$out.work" "$out.empty"
chmod 00755 "$out" # the VM's / : not the setgid bit of the builder's folders
mount -t overlay overlay -o "userxattr,volatile,lowerdir=$out.empty,upperdir=$out,workdir=$out.work" "$made"
mmdebstrap --quiet --mode=root --variant=apt --format=directory --include="${packages%,}" \
    --dpkgopt=force-unsafe-io --aptopt='APT::Install-Recommends "0"' \
    '' "$made" "deb [trusted=yes] copy:$repository ./"
: >"$made/etc/machine-id"
: >"$made/etc/hostname"
rm -f "$made/etc/resolv.conf" "$made/var/lib/dbus/machine-id"
# mmdebstrap's own settings would stay in force in the VM, and the target has none of them.
rm -f "$made/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$made/etc/apt/apt.conf.d/99mmdebstrap"
rm -f "$made/etc/apt/sources.list" "$made"/etc/apt/sources.list.d/*
umount "$made"
sync -f "$out"

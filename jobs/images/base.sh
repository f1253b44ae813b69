#!/bin/sh
# base.sh OUT REPOSITORY PACKAGE...: a base image of these packages, and no others, in a namespace of its own.
# --mode=root, since the namespace is the one that --mode=unshare would make.
set -eu
umask 022
out=$1 repository=$2
shift 2
packages=$(printf '%s,' "$@")
# force-unsafe-io: a base that a power cut damaged is not in the cache yet. It would stay in force on a host, so it goes.
mmdebstrap --quiet --mode=root --variant=apt --format=directory --include="${packages%,}" \
    --dpkgopt=force-unsafe-io --aptopt='APT::Install-Recommends "0"' \
    --customize-hook='rm -f "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
    --customize-hook='rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*' \
    '' "$out" "deb [trusted=yes] copy:$repository ./"
: >"$out/etc/machine-id"
: >"$out/etc/hostname"
rm -f "$out/etc/resolv.conf" "$out/var/lib/dbus/machine-id"

#!/bin/sh
# layer.sh: a host's disk from a base, a release and a kernel's modules. Run as root of a new user namespace; it takes its
# arguments from the environment: release base kernel scratch package version host size uuid here.
set -eu
umask 022
: "${release:?}" "${base:?}" "${kernel:?}" "${scratch:?}" "${package:?}" "${version:?}" "${host:?}" "${size:?}"
: "${uuid:?}" "${here:?}"
root=$scratch/root
mkdir "$scratch/upper" "$scratch/work" "$root"
chmod 00755 "$scratch/upper" # the VM's / : neither the builder's umask nor its folders' setgid bit may show there
# volatile: what is in it is gone with the build, and not worth a sync.
mount -t overlay overlay \
    -o "userxattr,volatile,lowerdir=$kernel:$base,upperdir=$scratch/upper,workdir=$scratch/work" "$root"

# What the host brings runs in there, and sees nothing of this machine.
unshare --mount --pid --fork --kill-child -- sh "$here/layer-enter.sh" "$root" "$release" "$scratch/guest.tar" \
    "$here/layer-inside.sh" "$package" "$version" "$host"

# What a target has after its first deploy, too: the release's .debs by digest, for the way back and forth in `upgrade`.
mkdir -p "$root/var/lib/toto/debs"
while read -r digest file; do
    cp "$release/debs/$file" "$root/var/lib/toto/debs/$digest.deb"
done <"$scratch/store"
chmod 644 "$root"/var/lib/toto/debs/*.deb

truncate -s "$size" "$scratch/disk.ext4"
mke2fs -q -t ext4 -O ^has_journal,^resize_inode -E "lazy_itable_init=1,nodiscard,hash_seed=$uuid" -U "$uuid" -m 0 \
    -d "$root" "$scratch/disk.ext4" || exit 11

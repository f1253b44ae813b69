"""Building a Debian host: definition → lock → release → image. Each step is a file beside this one.

resolve.resolve            which packages, exactly (once for an identity)
build_release              their .debs, `toto-host-NAME`, and an index of exactly these
build_image                a base of what every host has, the host's package over it, a disk
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from jobs.images import base, debs, kernel, layer, metapackage, refusals, repository
from jobs.images.lock import Lock, Locked
from jobs.images.resolve import resolve
from jobs.images.unprivileged import Builder, builder, ensure_builder
from server.core import releases
from server.core.config import Config
from server.core.definition import DebianHost
from server.core.recorder import StageLog
from server.core.releases import ReleaseFiles, ReleasePackage
from server.core.states import Backend

ROOT_DEVICE = "/dev/nvme0n1"
"""The VM's disk as its kernel names it: an NVMe disk, since that driver is built in."""


@dataclass(frozen=True)
class Image:
    """What a VM is started with.

    Attributes:
        disk: Raw ext4, read-only: runs write to an overlay of their own.
        kernel: What QEMU starts.
        initrd: None: the kernel finds its root by itself.
        root: The root device, for the kernel's command line.
    """

    disk: Path
    kernel: Path
    initrd: Path | None = None
    root: str = ROOT_DEVICE


def release_id(identity: str, lock: str) -> str:
    """Id of the release of an identity and a lock's digest."""
    return hashlib.sha256(f"toto release {metapackage.FORMAT}\n{identity}\n{lock}\n".encode()).hexdigest()


def build_release(config: Config, host: DebianHost, lock: Lock, commit: str, log: StageLog) -> ReleaseFiles:
    """The release of a host and its lock: the same bytes each time, and no network where the .debs are in the cache.

    Raises:
        BuildRefused: The host cannot be made into a package.
        Trouble: A package can be had no longer.
    """
    found = builder(config)
    archives = debs.archives(found, lock.suite, host.sources, lock.architecture)
    files = debs.ensure(found, lock.packages, archives, log)
    release = release_id(host.identity, lock.digest)
    with found.scratch("release") as scratch:
        package = metapackage.build(found, scratch, host, lock, release, config.limits.build)
        folder = found.folder(scratch / release)
        found.folder(folder / "debs")
        stanzas = {}
        for locked in lock.packages:
            os.link(files[locked.sha256], folder / "debs" / locked.file)
            control = debs.control_of(found, files[locked.sha256])
            stanzas[locked.file] = repository.stanza(control, locked.file, locked.size, locked.sha256)
        goal = folder / "debs" / package.name
        package.rename(goal)
        control = debs.control_of(found, goal)
        stanzas[package.name] = repository.stanza(control, package.name, goal.stat().st_size, releases.sha256_of(goal))
        index = repository.packages(stanzas)
        digest = repository.release(release, lock.suite, [lock.architecture, "all"], index, metapackage.EPOCH)
        repository.write(folder, index, digest)
        (folder / "release.json").write_text(json.dumps(_said(host, lock, commit, release), indent=1))
        made = releases.put(config, folder)
    log.line(f"release {made.id[:12]}: {len(made.packages)} packages and {made.host_package} {made.version}")
    return made


def _said(host: DebianHost, lock: Lock, commit: str, release: str) -> dict[str, object]:
    packages = [
        ReleasePackage(p.name, p.version, p.architecture, p.sha256, p.size, p.file, p.base) for p in lock.packages
    ]
    return {
        "id": release,
        "host": host.name,
        "backend": Backend.DEBIAN,
        "identity": host.identity,
        "lock": lock.digest,
        "commit": commit,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": lock.suite,
        "architecture": lock.architecture,
        "sources": list(host.sources),
        "version": metapackage.version(release),
        "packages": [asdict(package) for package in packages],
    }


def build_image(
    config: Config,
    release: ReleaseFiles,
    host_name: str,
    guest_files: bytes,
    log: StageLog,
    *,
    disk_bytes: int,
) -> Image:
    """A bootable image of a release, from the cache where the same was made before.

    Args:
        config: The settings.
        release: What is installed.
        host_name: The VM's name.
        guest_files: A tar archive that is unpacked over the root at the end: toto's own way in.
        log: The stage's log.
        disk_bytes: Size of the disk; the file is sparse.

    Raises:
        BuildRefused: The host's packages or files cannot be installed, or do not fit on the disk.
        Trouble: This machine cannot build.
    """
    found = ensure_builder(config)
    wanted = _kernel(found, release, log)
    key = _image_key(release, kernel.digest(wanted), guest_files, host_name, disk_bytes)
    goal = config.folder("cache", "images", key)
    if not (goal / "disk.ext4").exists():
        root = base.ensure(found, release, config.limits.build, log)
        unpacked = kernel.unpack(found, wanted, _archives(found, release), root, config.limits.build, log)
        parts = layer.Layer(release, root, unpacked, guest_files, host_name, disk_bytes)
        log.line(f"installing {release.host_package} {release.version} over the base")
        with found.scratch("image") as scratch:
            disk = layer.make_disk(found, parts, scratch, config.limits.build, log)
            out = found.folder(scratch / "image")
            os.link(unpacked.image, out / "vmlinuz")
            disk.rename(out / "disk.ext4")
            (out / "disk.ext4").chmod(0o444)
            found.folder(goal.parent)
            with contextlib.suppress(OSError):  # another builder was first: its image is as good
                out.rename(goal)
    os.utime(goal)
    return Image(goal / "disk.ext4", goal / "vmlinuz")


def _image_key(release: ReleaseFiles, kernel_digest: str, guest_files: bytes, host_name: str, disk_bytes: int) -> str:
    guest = hashlib.sha256(guest_files).hexdigest()
    parts = [release.id, kernel_digest, guest, host_name, str(disk_bytes), f"recipe {layer.RECIPE}", base.key(release)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kernel(found: Builder, release: ReleaseFiles, log: StageLog) -> Sequence[Locked]:
    """The kernel for VMs of the release's suite: the remembered one, or on a new builder the archives' newest."""
    if known := kernel.remembered(found.config, release.suite, release.architecture):
        return known
    archives = _archives(found, release)
    with archives() as root:
        refusals.unreachable(release.suite, root.update())
        newest = kernel.newest(root, release.suite)
    kernel.remember(found, newest, release.suite, archives, log)
    return newest


def _archives(found: Builder, release: ReleaseFiles) -> debs.Archives:
    return debs.archives(found, release.suite, release.said["sources"], release.architecture)


__all__ = ["Image", "Lock", "build_image", "build_release", "release_id", "resolve"]

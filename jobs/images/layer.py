"""The host layer: a base with `toto-host-NAME` installed over it, as a disk that a VM boots.

An overlay over the base, in a user namespace; in it the release's own repository is all that apt sees. What the host
brings may run there (maintainer scripts, its files): with its own root (pivot_root), processes and an empty network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jobs.images.kernel import Kernel
from jobs.images.unprivileged import Builder, namespace
from server.core.errors import BuildRefused, CommandFailed, Trouble
from server.core.recorder import StageLog
from server.core.releases import ReleaseFiles

RECIPE = 3
"""Raised when the same release has to become another disk."""
HERE = Path(__file__).parent
NOT_INSTALLED = 10
"""Exit code of layer.sh where apt could not install the host's package."""
NO_ROOM = 11
"""Exit code of layer.sh where the disk could not be made."""
FILESYSTEM = "7a7f0a9e-5c1b-4d0e-9d6b-746f746f0001"
"""UUID of every VM's root: the same input gives the same file system."""


@dataclass(frozen=True)
class Layer:
    """What goes into one disk."""

    release: ReleaseFiles
    base: Path
    kernel: Kernel
    guest_files: bytes
    host_name: str
    disk_bytes: int


def make_disk(builder: Builder, layer: Layer, scratch: Path, timeout: float, log: StageLog) -> Path:
    """The disk as a raw ext4 file in `scratch`.

    Raises:
        BuildRefused: The host's packages or files cannot be installed, or do not fit on the disk.
        CommandFailed: This machine could not make it.
    """
    (scratch / "guest.tar").write_bytes(layer.guest_files)
    store = "".join(f"{package.sha256} {package.file}\n" for package in layer.release.packages)
    (scratch / "store").write_text(store)
    arguments = {
        "release": str(layer.release.path),
        "base": str(layer.base),
        "kernel": str(layer.kernel.layer),
        "scratch": str(scratch),
        "package": layer.release.host_package,
        "version": layer.release.version,
        "host": layer.host_name,
        "size": str(layer.disk_bytes),
        "uuid": FILESYSTEM,
        "here": str(HERE),
    }
    try:
        argv = ["sh", str(HERE / "layer.sh")]
        builder.run(namespace(argv), timeout=timeout, env=arguments, on_output=log.write, stop=log.stopped)
    except CommandFailed as error:
        raise _told(error, layer) from error
    return scratch / "disk.ext4"


def _told(error: CommandFailed, layer: Layer) -> Exception:
    where = f"host {layer.release.host}"
    if "No space left on device" in error.output and error.code != NO_ROOM:
        what = "no space left on this machine while the image was built"
        return Trouble(what, where=where, mend="free some: toto gc")
    if error.code == NOT_INSTALLED:
        return BuildRefused(f"its packages cannot be installed: {_reason(error.output, layer)}", where=where)
    if error.code == NO_ROOM:
        size = layer.disk_bytes // 1024**2
        return BuildRefused(
            f"the host does not fit on the VM's disk of {size} MiB", where=where, mend="raise limits.disk in fleet.toml"
        )
    return error


def _reason(output: str, layer: Layer) -> str:
    """The line that says why: the host package's own, else dpkg's or apt's first complaint."""
    lines = output.splitlines()
    own = [line for line in lines if line.startswith(f"{layer.release.host_package}: ")]
    errors = [line.strip() for line in lines if re.match(r"dpkg: error|E: | ?[a-z0-9.+-]+ : ", line)]
    return (own or errors or lines or ["no output"])[0]

"""The kernel of the VMs: a builder's matter, and no package of the host. dpkg in the VM does not know of it.

Debian's cloud kernel has ext4 and NVMe built in (CONFIG_EXT4_FS, CONFIG_BLK_DEV_NVME), so it boots without an initrd.
Chosen whenever a lock is made, remembered for each suite, so that a rebuild from a lock needs no archive.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.images import debs
from jobs.images.apt_root import AptRoot
from jobs.images.lock import Locked
from jobs.images.unprivileged import Builder, namespace
from server.core.config import Config
from server.core.control import relations
from server.core.errors import Trouble
from server.core.recorder import StageLog

_PART = re.compile(r"linux-(image|modules|binary)-[0-9]")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel.

    Attributes:
        digest: Of its packages.
        path: Its folder in the cache: `vmlinuz`, and `layer` with its modules as they lie over a root.
    """

    digest: str
    path: Path

    @property
    def image(self) -> Path:
        """What QEMU starts."""
        return self.path / "vmlinuz"

    @property
    def layer(self) -> Path:
        """Its modules, to be laid over a root."""
        return self.path / "layer"


def newest(root: AptRoot, suite: str) -> tuple[Locked, ...]:
    """The packages of the suite's newest cloud kernel.

    Raises:
        Trouble: The archives have none.
    """
    meta = f"linux-image-cloud-{root.architecture}"
    if meta not in root.names():
        mend = "add Debian's main to the sources"
        raise Trouble(f"the archives of {suite} have no {meta}, and VMs need it", mend=mend)
    found: dict[str, Locked] = {}
    todo = [meta]
    while todo:
        record = root.records([todo.pop()])[0]
        needs = [group[0] for group in relations(f"{record.get('Pre-Depends', '')},{record.get('Depends', '')}")]
        todo += [name for name in needs if _PART.match(name) and name not in found]
        if _PART.match(record["Package"]):
            found[record["Package"]] = Locked(
                name=record["Package"],
                version=record["Version"],
                architecture=record["Architecture"],
                sha256=record["SHA256"],
                size=int(record["Size"]),
                filename=record["Filename"],
            )
    return tuple(found[name] for name in sorted(found))


def remember(builder: Builder, chosen: Sequence[Locked], suite: str, archives: debs.Archives, log: StageLog) -> None:
    """Take a kernel for all VMs of the suite from now on. It is fetched first: a later build may have no network."""
    debs.ensure(builder, chosen, archives, log)
    file = _memory(builder.config, suite, chosen[0].architecture)
    builder.folder(file.parent)
    fresh = file.with_suffix(f".new-{os.getpid()}")
    fresh.write_text(json.dumps([asdict(package) for package in chosen]))
    fresh.replace(file)


def _memory(config: Config, suite: str, architecture: str) -> Path:
    return config.folder("cache", "kernels", f"{suite}-{architecture}.json")


def remembered(config: Config, suite: str, architecture: str) -> tuple[Locked, ...]:
    """The kernel that was chosen last for the suite; nothing where none was."""
    try:
        said = json.loads(_memory(config, suite, architecture).read_bytes())
        return tuple(Locked(**package) for package in said)
    except (OSError, ValueError, TypeError):
        return ()


def digest(packages: Sequence[Locked]) -> str:
    """Of a kernel's packages."""
    return hashlib.sha256(" ".join(sorted(package.sha256 for package in packages)).encode()).hexdigest()


def unpack(
    builder: Builder, packages: Sequence[Locked], archives: debs.Archives, base: Path, timeout: float, log: StageLog
) -> Kernel:
    """The kernel, unpacked in the cache, its modules indexed by the base's depmod.

    Raises:
        Trouble: Its packages cannot be fetched.
        CommandFailed: They hold no kernel.
    """
    key = digest(packages)
    kernel = Kernel(key, builder.config.folder("cache", "kernels", key))
    with (builder.folder(kernel.path.parent) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kernel.path.is_dir():
            return kernel
        files = debs.ensure(builder, packages, archives, log)
        log.line(f"unpacking the VMs' kernel {packages[0].name} {packages[0].version}")
        with builder.scratch("kernel") as scratch:
            out = builder.folder(scratch / "kernel")
            argv = ["sh", str(HERE / "kernel.sh"), str(out), str(base)]
            argv += [str(files[package.sha256]) for package in packages]
            builder.run(namespace(argv), timeout=timeout, on_output=log.write)
            out.rename(kernel.path)
    return kernel

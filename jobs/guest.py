"""What toto adds to a VM's image: its own way in, which the host's description neither sees nor can break.

A control card in a network namespace of its own (the host's network has only `lo` until toto gives it a way out), and
a second sshd in it, with its own key, configuration, passwd and shadow. Commands leave that namespace at once and run
in the machine's own. The unit does nothing where the kernel was not started by toto (`toto.rehearsal` on its command
line), and nothing host-specific is set: the host's name comes on the kernel's command line.

The host's own units stay as they are, apart from those that `jobs.machine` masks on the kernel's command line because
they wait for a network that a rehearsal does not have.
"""

from __future__ import annotations

import fcntl
import io
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from server.core import process
from server.core.config import Config

ROOT = Path(__file__).with_name("guest_root")
HOME = "usr/lib/toto-vm"
UNIT = "toto-control.service"
ALIAS = "toto-vm"
"""The VM's name in its known_hosts file."""


@dataclass(frozen=True)
class GuestKeys:
    """The keys between this builder and its VMs.

    Attributes:
        client: Private key that opens the VM.
        host: Private key of the VM's own sshd.
        known_hosts: File that pins it under `ALIAS`.
    """

    client: Path
    host: Path
    known_hosts: Path


def guest_keys(config: Config) -> GuestKeys:
    """The builder's keys for its VMs, in `keys/vm` of the data folder; made when they are missing.

    Raises:
        ToolMissing: ssh-keygen is not installed.
        CommandFailed: It could not make a key.
    """
    folder = config.folder("keys", "vm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".vm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "known_hosts").exists():
            _make_keys(folder)
    return GuestKeys(folder / "client", folder / "host", folder / "known_hosts")


def _make_keys(folder: Path) -> None:
    """Keys appear whole or not at all: made in a folder beside, which then takes the name."""
    shutil.rmtree(folder, ignore_errors=True)
    fresh = folder.with_name(".vm.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    for name in ("client", "host"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"toto-vm-{name}", "-f", str(fresh / name)]
        process.run(argv, timeout=30)
        (fresh / name).chmod(0o600)
    kind, key = (fresh / "host.pub").read_text().split()[:2]
    (fresh / "known_hosts").write_text(f"{ALIAS} {kind} {key}\n")
    fresh.replace(folder)


def guest_files(config: Config) -> bytes:
    """A tar archive of the files that go over a VM's root, the same bytes each time for the same builder.

    Raises:
        ToolMissing: ssh-keygen is not installed.
        CommandFailed: The keys could not be made.
    """
    keys = guest_keys(config)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _folder(archive, HOME)
        for name in ("network", "door", "enter"):
            _file(archive, f"{HOME}/{name}", (ROOT / name).read_bytes(), 0o755)
        for name in ("sshd_config", "passwd"):
            _file(archive, f"{HOME}/{name}", (ROOT / name).read_bytes(), 0o644)
        _file(archive, f"{HOME}/shadow", (ROOT / "shadow").read_bytes(), 0o600)
        _file(archive, f"{HOME}/host_key", keys.host.read_bytes(), 0o600)
        _file(archive, f"{HOME}/authorized_keys", keys.client.with_suffix(".pub").read_bytes(), 0o644)
        _link(archive, f"{HOME}/toto-door", "/usr/sbin/sshd")
        _file(archive, f"etc/systemd/system/{UNIT}", (ROOT / UNIT).read_bytes(), 0o644)
        _link(archive, f"etc/systemd/system/sysinit.target.wants/{UNIT}", f"/etc/systemd/system/{UNIT}")
    return buffer.getvalue()


def _file(archive: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _folder(archive: tarfile.TarFile, path: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(entry)


def _link(archive: tarfile.TarFile, path: str, goal: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname = tarfile.SYMTYPE, goal
    archive.addfile(entry)

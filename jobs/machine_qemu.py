"""The command lines of a rehearsal: the sandbox, and QEMU in it. No I/O but looking at what is installed."""

from __future__ import annotations

import os
import platform
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from jobs.acceleration import Acceleration
from server.core import process
from server.core.config import Limits

CONTROL_MAC = "52:54:00:74:6f:01"
"""Of the control card; `guest_root/network` knows it too."""
CONTROL_PORT = 2222
"""In the sandbox's own network, where nothing else listens."""
SPARE_PORT = "spare"
"""The PCI port that stays empty until the machine gets a way out."""

MASKED = (
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    "ifupdown-wait-online.service",
    "systemd-time-wait-sync.service",
)
"""Units of the host that only wait for a network or its clock, and would hold up the boot of a machine without one."""


@dataclass(frozen=True)
class Descriptors:
    """Open files that QEMU and socat inherit, by number."""

    disk: int
    overlay: int
    kernel: int
    initrd: int | None
    console: int
    monitor: int

    @property
    def all(self) -> tuple[int, ...]:
        """Every number."""
        given = (self.disk, self.overlay, self.kernel, self.initrd, self.console, self.monitor)
        return tuple(number for number in given if number is not None)


class Who(TypedDict, total=False):
    """Whom a child process runs as: arguments of `process.started`."""

    user: str
    group: str
    groups: Sequence[str]


def unprivileged(*, kvm: bool = False) -> Who:
    """The user `toto`, where we are root and it exists: root in a user namespace still reads root's files.

    In the product the worker runs unprivileged already and this is empty.
    """
    if os.geteuid() != 0:
        return Who()
    try:
        pwd.getpwnam("toto")
    except KeyError:
        return Who()
    return Who(user="toto", group="toto", groups=("kvm",) if kvm else ())


def qemu_binary() -> str:
    """Absolute path of QEMU for this machine's architecture.

    Raises:
        ToolMissing: It is not installed.
    """
    return process.tool(f"qemu-system-{platform.machine()}")


def sandbox_argv(
    binds: Sequence[str], *, shared: Path, kvm: bool = False, data: Sequence[tuple[int, str]] = ()
) -> list[str]:
    """Bubblewrap around a command: no network but an empty `lo`, no capabilities, no process of the host.

    Args:
        binds: Files and folders of the host that are there, read-only.
        shared: The one folder of the host that may be written to; there as `/shared`.
        kvm: Whether `/dev/kvm` is there.
        data: Open files whose content is there under a name.
    """
    argv = [
        process.tool("bwrap"), "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--hostname", "toto", "--dev", "/dev", "--tmpfs", "/tmp",  # noqa: S108 - its own
        "--bind", str(shared), "/shared", "--ro-bind", "/usr/lib", "/usr/lib",
    ]  # fmt: skip
    for name in ("lib", "lib64", "bin", "sbin"):
        if Path(f"/{name}").is_symlink():
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path(f"/{name}").is_dir():
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in (*binds, "/usr/lib64", "/etc/ld.so.cache", "/etc/alternatives"):
        argv += ["--ro-bind-try", path, path]
    if kvm:
        argv += ["--dev-bind", "/dev/kvm", "/dev/kvm"]
    for number, name in data:
        argv += ["--ro-bind-data", str(number), name]
    return [*argv, "--chdir", "/", "--"]


def machine_argv(
    qemu: str, name: str, root: str, limits: Limits, acceleration: Acceleration, files: Descriptors, door: Path
) -> list[str]:
    """The whole command of a rehearsal's VM: sandbox, the relay from the socket `door` to its sshd, QEMU."""
    socat = process.tool("socat")
    data = [(files.kernel, "/tmp/kernel")]  # noqa: S108 - in the sandbox's own empty /tmp
    if files.initrd is not None:
        data.append((files.initrd, "/tmp/initrd"))  # noqa: S108 - as above
    binds = [socat, "/usr/bin/sh", "/usr/bin/dash", qemu, "/usr/share/qemu", "/usr/share/seabios"]
    sandbox = sandbox_argv(binds, kvm=acceleration.kind == "kvm", data=data, shared=door.parent)
    # The relay lives and dies with the sandbox: when QEMU, its first process, ends, the kernel ends the rest.
    relay = '"$1" UNIX-LISTEN:"$2",fork,backlog=16,mode=0600 TCP:127.0.0.1:"$3" & shift 3; exec "$@"'
    return [
        *sandbox, "/usr/bin/sh", "-c", relay, "sh", socat, f"/shared/{door.name}", str(CONTROL_PORT),
        *qemu_argv(qemu, name, root, limits, acceleration, files),
    ]  # fmt: skip


def qemu_argv(
    qemu: str, name: str, root: str, limits: Limits, acceleration: Acceleration, files: Descriptors
) -> list[str]:
    """QEMU: nothing but processors, memory, one disk, a console, the monitor, and the control card."""
    overlay = (
        "driver=qcow2,node-name=disk,file.driver=file,file.filename=/dev/fdset/1,file.locking=off,cache.no-flush=on,"
        "discard=unmap,backing.driver=raw,backing.file.driver=file,backing.file.filename=/dev/fdset/2,"
        "backing.file.locking=off,backing.read-only=on"
    )
    initrd = ["-initrd", "/tmp/initrd"] if files.initrd is not None else []  # noqa: S108 - in the sandbox
    return [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-M", "q35,usb=off,vmport=off", "-no-reboot",
        *acceleration.arguments, "-smp", str(limits.cpus), "-m", f"{limits.memory // 1024**2}M", "-rtc", "base=utc",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-chardev", f"socket,id=console,fd={files.console}", "-serial", "chardev:console",
        "-chardev", f"socket,id=monitor,fd={files.monitor}", "-mon", "chardev=monitor,mode=control",
        "-add-fd", f"fd={files.overlay},set=1", "-add-fd", f"fd={files.disk},set=2", "-blockdev", overlay,
        "-device", "nvme,drive=disk,serial=toto",
        "-netdev", f"user,id=control,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{CONTROL_PORT}-10.0.2.15:22",
        "-device", f"virtio-net-pci,netdev=control,mac={CONTROL_MAC},romfile=",
        "-device", f"pcie-root-port,id={SPARE_PORT},chassis=1,slot=1", "-device", "virtio-rng-pci",
        "-kernel", "/tmp/kernel", *initrd, "-append", kernel_line(name, root),  # noqa: S108 - in the sandbox
    ]  # fmt: skip


def kernel_line(name: str, root: str) -> str:
    """The kernel's command line; `panic=-1` with `-no-reboot` ends QEMU at a panic."""
    masks = " ".join(f"systemd.mask={unit}" for unit in MASKED)
    return (
        f"console=ttyS0 root={root} rw panic=-1 quiet net.ifnames=0 mitigations=off toto.rehearsal "
        f"systemd.hostname={name} {masks}"
    )

"""Whether this machine can run VMs on KVM: found out by trying, once for each boot of the machine.

`/dev/kvm` may open, and even make a VM, while guests hang (nested and paravirtual hosts), and QEMU's own choice
`accel=kvm:tcg` then hangs too. So a kernel is booted with no root: with KVM it panics and ends within seconds.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from server.core import process
from server.core.config import Config

TRY_SECONDS = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEVICE = Path("/dev/kvm")
EMULATION = ("-accel", "tcg,thread=multi", "-cpu", "qemu64")
HARDWARE = ("-accel", "kvm", "-cpu", "host")


@dataclass(frozen=True)
class Acceleration:
    """How VMs run here.

    Attributes:
        kind: `kvm`, or `tcg` for software emulation.
        reason: Why, and what to do about it where something can be done.
    """

    kind: str
    reason: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's arguments for it."""
        return HARDWARE if self.kind == "kvm" else EMULATION


SECTOR = (
    b"\xba\xf4\x00"  # mov dx, 0xf4: the port of QEMU's isa-debug-exit
    b"\xb0\x10"  # mov al, 0x10
    b"\xee"  # out dx, al: QEMU ends with (0x10 << 1) | 1
    b"\xf4"  # hlt
).ljust(510, b"\x00") + b"\x55\xaa"
"""A boot sector that ends QEMU at once: tried where no kernel is at hand."""
SECTOR_ENDED = 33


def acceleration(config: Config, kernel: Path | None = None) -> Acceleration:
    """How VMs run on this machine; tried at the first call after each boot, remembered in `cache/acceleration.json`.

    Args:
        config: Settings; the answer is kept in their cache folder.
        kernel: A kernel to try with: the surest trial. Without one, this machine's own in `/boot`; without that, a boot
            sector, whose answer is tried again as soon as there is a kernel.

    Raises:
        ToolMissing: QEMU is not installed.
    """
    kernel = kernel or _own_kernel()
    memory = config.folder("cache", "acceleration.json")
    known = _remembered(memory)
    if known is not None and (known[1] or kernel is None):
        return known[0]
    found = _find(kernel)
    # Without the device there is nothing that a kernel would tell anew; but the user may be given access meanwhile.
    _remember(memory, found, sure=kernel is not None)
    return found


def _find(kernel: Path | None) -> Acceleration:
    if (obstacle := obstacle_to(DEVICE)) is not None:
        return Acceleration("tcg", obstacle)
    ended, seconds = try_kvm(kernel)
    if ended:
        return Acceleration("kvm", f"a guest ran under KVM ({seconds:.1f} s)")
    return Acceleration(
        "tcg",
        f"{DEVICE} opens, but a guest did not run under it within {TRY_SECONDS:g} s: software emulation is used, which "
        "is some ten times slower; nested virtualization has to be switched on where this machine itself runs",
    )


def obstacle_to(device: Path) -> str | None:
    """Why the device cannot be opened, with what to do about it; None where it can."""
    if not device.exists():
        return (
            f"there is no {device}: enable virtualization in the firmware, or nested virtualization in the hypervisor"
        )
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return f"this user may not open {device}: add it to the group kvm (`usermod -aG kvm toto`), then restart toto"
    except OSError as error:
        return f"{device} does not open: {error.strerror}"
    return None


def try_kvm(kernel: Path | None) -> tuple[bool, float]:
    """Whether a guest comes to its end under KVM, and after how many seconds."""
    qemu = process.tool(f"qemu-system-{os.uname().machine}")
    base = [
        qemu,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-M",
        "q35",
        "-m",
        "256",
        "-no-reboot",
        *HARDWARE,
    ]
    if kernel is not None:
        argv = [*base, "-kernel", str(kernel), "-append", "panic=-1 quiet"]
        result = process.run(argv, timeout=TRY_SECONDS, check=False, grace=1)
        return result.code == 0 and not result.timed_out, result.seconds
    with tempfile.NamedTemporaryFile(prefix="toto-kvm-") as sector:
        sector.write(SECTOR)
        sector.flush()
        drive = ["-drive", f"file={sector.name},format=raw,if=ide,readonly=on", "-device", "isa-debug-exit,iobase=0xf4"]
        result = process.run([*base, *drive], timeout=TRY_SECONDS, check=False, grace=1)
    return result.code == SECTOR_ENDED, result.seconds


def _own_kernel() -> Path | None:
    found = sorted(path for path in Path("/boot").glob("vmlinuz*") if os.access(path, os.R_OK) and path.is_file())
    return found[-1] if found else None


def _key() -> str:
    """What an answer holds for: this boot, and what this user may open."""
    return f"{BOOT_ID.read_text().strip()} {os.access(DEVICE, os.R_OK | os.W_OK)}"


def _remembered(memory: Path) -> tuple[Acceleration, bool] | None:
    try:
        said = json.loads(memory.read_text())
        if said["key"] != _key():
            return None
        return Acceleration(str(said["kind"]), str(said["reason"])), bool(said["sure"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, found: Acceleration, *, sure: bool) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_name(f".{memory.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"key": _key(), "sure": sure, **asdict(found)}))
    fresh.replace(memory)

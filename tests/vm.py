"""What the VM tests share: one real image of a small host, built once for all of them, and machines that boot it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs.guest import guest_files
from jobs.images import debian
from jobs.images.debian import Image
from jobs.machine import Machine, machine
from server.core.config import Config, Limits
from server.core.releases import ReleaseFiles
from server.core.states import StageName
from tests.images import KeptLog, file, host
from tests.targets import Log

DISK = 2 * 1024**3


@dataclass(frozen=True)
class World:
    """A builder's data folder with two releases of the host `web`, and the newer one's image."""

    config: Config
    old: ReleaseFiles
    new: ReleaseFiles
    image: Image


@functools.cache
def world() -> World:
    """Built once; kept between runs of the tests where TOTO_TEST_DATA names a folder for it."""
    config = Config(data=_data())
    log = KeptLog()
    old = host(files=(file("/etc/toto-said", "old\n"),))
    new = host("tree", "systemd-resolved", files=(file("/etc/toto-said", "new\n"),))
    made = [debian.build_release(config, each, debian.resolve(config, each, log), "0" * 40, log) for each in (old, new)]
    image = debian.build_image(config, made[1], "web", guest_files(config), log, disk_bytes=DISK)
    return World(config, made[0], made[1], image)


def _data() -> Path:
    if given := os.environ.get("TOTO_TEST_DATA"):
        Path(given).mkdir(parents=True, exist_ok=True)
        return Path(given)
    folder = Path(tempfile.mkdtemp(prefix="toto-vm-t.", dir="/var/tmp"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass
class StoppableLog(Log):
    """A log whose run can be cancelled by setting `stop`."""

    stage: StageName = StageName.BOOT
    stop: list[bool] = field(default_factory=list)

    def stopped(self) -> bool:
        return bool(self.stop)


@contextlib.contextmanager
def started(
    folder: Path, limits: Limits | None = None, *, name: str = "web", kernel_adds: str = "", log: Log | None = None
) -> Iterator[Machine]:
    """A VM of the shared image; `kernel_adds` go onto the kernel's command line."""
    made = world()
    image = replace(made.image, root=f"{made.image.root} {kernel_adds}".strip())
    with machine(made.config, image, name, limits or Limits(), folder, log or StoppableLog()) as vm:
        yield vm


def processes_with(sign: str) -> list[str]:
    """Command lines of running processes that contain `sign`, other than our own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if sign in line and path.parent.name != str(os.getpid()):
                found.append(line)
    return found

"""The folder of a VM's sockets: short-named, private, and swept when its owner died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PLACE = Path("/tmp")  # noqa: S108 - a socket's path holds 107 bytes, so it must be short; mkdtemp makes it private
PREFIX = "toto-vm-"
LOCK = "lock"


@contextlib.contextmanager
def socket_folder(place: Path = PLACE) -> Iterator[Path]:
    """A private folder, locked while it is used, gone afterwards; those of dead owners are removed first.

    ssh's shared connection and the relay need names in the file system, and nothing else of a VM does. The lock is
    inherited by nobody, so it is free as soon as the process that made the folder is gone, however it ended.
    """
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path = PLACE) -> list[Path]:
    """Remove this user's socket folders that nobody holds; returns them."""
    return [folder for folder in place.glob(f"{PREFIX}*") if _abandoned(folder)]


def _abandoned(folder: Path) -> bool:
    """Remove the folder if it is ours and unlocked; one without a lock file is just being made, or half removed."""
    try:
        found = folder.lstat()
        if found.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
            return False
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            return True
    except OSError:
        return False

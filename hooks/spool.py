"""The spool: one small file for each ref that git has taken, written by post-receive, read by the receiver.

A file is whole when its last line is `end`; so it needs no rename, and the death of any process in between leaves
either a whole note or none that counts. When it came is the file's own time, to the nanosecond.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from server.core import repos
from server.core.config import Config
from server.core.errors import UsageFault
from server.core.model import Push

SUFFIX = ".push"
HEADER = "toto-push 1"
LARGEST = 64 * 1024
"""Bytes of a note at the most; an honest one has about 300."""
_ID = re.compile(r"[0-9a-f]{12}")
_KEYS = ("id", "repo", "ref", "old", "new", "pusher")


class BadNote(ValueError):
    """A file in the spool that is no note."""


class Unfinished(BadNote):
    """A note without its last line: still being written, or its hook died."""


@dataclass(frozen=True)
class Note:
    """A note and its file."""

    path: Path
    push: Push


def folder(config: Config) -> Path:
    """The spool's folder."""
    return config.folder("spool")


def wake_path(config: Config) -> Path:
    """The FIFO that wakes the receiver."""
    return folder(config) / "wake"


def receiver_path(config: Config) -> Path:
    """The file that says which process receives: its number, the boot it belongs to, and its name."""
    return folder(config) / "receiver"


def prepare(config: Config) -> None:
    """Make the spool and its FIFO, where all who may push can write: as open to the group as the repositories.

    Raises:
        OSError: The data folder cannot be written.
    """
    place = folder(config)
    made = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    if made:
        place.chmod(0o2775)
    if not wake_path(config).is_fifo():
        wake_path(config).unlink(missing_ok=True)
        os.mkfifo(wake_path(config))
        wake_path(config).chmod(0o664)
    repos.hand_over(config, place)


def waiting(config: Config) -> list[Path]:
    """All notes, oldest first; those of one push may have the same time, and sort by their names then."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder(config)) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name, entry.path))
    return [Path(path) for _, _, path in sorted(found)]


def read(path: Path) -> Note:
    """One note.

    Raises:
        Unfinished: Its last line is not there yet.
        BadNote: It is no note, and never will be.
        FileNotFoundError: It is gone.
        OSError: The disk, or this process, is at its limits; the note may be sound.
    """
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise BadNote("is no plain file")
    try:
        # Whoever may push may also put another thing here since: it is neither followed nor waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO):
            raise BadNote(f"cannot be opened: {error.strerror}") from error
        raise
    try:
        content = os.read(handle, LARGEST + 1)
    finally:
        os.close(handle)
    if len(content) > LARGEST:
        raise BadNote(f"has more than {LARGEST} bytes")
    if not content.endswith(b"\nend\n"):
        raise Unfinished("has no last line `end`")
    return Note(path, parse(content.decode(errors="replace"), datetime.fromtimestamp(info.st_mtime, UTC)))


def parse(text: str, received: datetime) -> Push:
    """The push that a note tells of.

    Raises:
        BadNote: Something in it is not as post-receive writes it.
    """
    header, *lines = text.split("\n")[:-2]
    if header != HEADER:
        raise BadNote(f"does not begin with `{HEADER}`")
    pairs = [line.partition(" ")[::2] for line in lines]
    options = tuple(value for key, value in pairs if key == "option")
    said = {key: value for key, value in pairs if key != "option"}
    if tuple(said) != _KEYS or len(pairs) != len(_KEYS) + len(options):
        raise BadNote(f"has the keys {', '.join(key for key, _ in pairs)} instead of {', '.join(_KEYS)}")
    if not _ID.fullmatch(said["id"]) or not all(map(repos.COMMIT.fullmatch, (said["old"], said["new"]))):
        raise BadNote("has an id or a commit that is none")
    with contextlib.suppress(UsageFault):
        return Push(
            id=said["id"],
            repo=repos.check_name(said["repo"]),
            ref=repos.check_ref(said["ref"]),
            old=said["old"],
            new=said["new"],
            pusher="".join(char if char.isprintable() else "?" for char in said["pusher"])[:100] or "unknown",
            received=received,
            options=options,
        )
    raise BadNote("has a repository or a ref that is none")

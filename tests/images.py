"""What the tests of image building share: a log that keeps its lines, a small host, a builder that is this process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jobs.images.lock import Lock, Locked
from jobs.images.unprivileged import Builder, builder
from server.core.config import Config
from server.core.definition import DebianHost, FileEntry, Requirement
from server.core.model import CheckRow
from server.core.states import StageName


class KeptLog:
    """A stage's log that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.output = b""

    @property
    def stage(self) -> StageName:
        return StageName.BUILD

    def line(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.output += data

    def check(self, row: CheckRow) -> None:
        raise AssertionError("a build has no checks")

    def note(self, reason: str) -> None:
        self.lines.append(reason)

    def stopped(self) -> bool:
        return False


def plain_builder(config: Config) -> Builder:
    """This process itself, for what needs no namespace."""
    entry = pwd.getpwuid(os.geteuid())
    return Builder(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=False, config=config)


def file(path: str, content: str, mode: int = 0o644, owner: str = "root:root") -> FileEntry:
    """A host's file."""
    return FileEntry(PurePosixPath(path), content.encode(), mode, owner)


def host(
    *packages: str, files: tuple[FileEntry, ...] = (), enable: tuple[str, ...] = (), suite: str = "bookworm"
) -> DebianHost:
    """A host `web` with these packages (`name` or `name=version`)."""
    parts = (text.partition("=") for text in packages)
    wanted = tuple(Requirement(name, version or None) for name, _, version in parts)
    return DebianHost("web", suite, wanted, files, enable)


def locked(name: str, version: str = "1.0", *, base: bool = False, content: bytes = b"") -> Locked:
    """A package of a lock that nobody fetches."""

    digest = hashlib.sha256(content or name.encode()).hexdigest()
    return Locked(name, version, "amd64", digest, len(content), f"pool/{name}_{version}_amd64.deb", base)


def lock(*packages: Locked) -> Lock:
    """A lock of these packages."""
    return Lock("bookworm", "amd64", tuple(sorted(packages)))


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def data_folder() -> Iterator[Config]:
    """Settings with a data folder that the builder can reach and write, also where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="toto-b.", dir="/var/tmp"))
    folder.chmod(0o755)
    config = Config(data=folder)
    found = builder(config)
    found.give(folder)
    try:
        yield config
    finally:
        found.remove(folder)

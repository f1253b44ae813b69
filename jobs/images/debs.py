"""The cache of .debs, by digest: what is there is never fetched again, and never trusted unread."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from jobs.images.apt_root import AptRoot, apt_root
from jobs.images.apt_sources import sources
from jobs.images.lock import Locked
from jobs.images.unprivileged import Builder
from server.core.control import Paragraph, paragraphs
from server.core.errors import Trouble
from server.core.recorder import StageLog
from server.core.releases import sha256_of

Archives = Callable[[], AbstractContextManager[AptRoot]]
"""Opens the archives, for when something has to be fetched."""
_AR_MAGIC = b"!<arch>\n"


def place(builder: Builder, sha256: str) -> Path:
    """Where the cache has the .deb with that digest."""
    return builder.config.folder("cache", "debs", sha256[:2], sha256)


def archives(builder: Builder, suite: str, given: Sequence[str], architecture: str) -> Archives:
    """How to open a host's archives: looked up when it is done, so that a build that fetches nothing needs none.

    Not to be opened where they are open already: they have one user at a time.
    """
    return lambda: apt_root(builder, sources(suite, given), architecture, builder.config.limits.build)


def ensure(builder: Builder, wanted: Sequence[Locked], archives: Archives, log: StageLog) -> Mapping[str, Path]:
    """Every wanted .deb in the cache, read and compared with its digest; what is missing or damaged is fetched.

    Returns:
        Paths by digest.

    Raises:
        Trouble: An archive has one no longer, or cannot be reached.
    """
    found = {package.sha256: place(builder, package.sha256) for package in wanted}
    missing = [package for package in wanted if not _whole(found[package.sha256], package, log)]
    if missing:
        log.line(f"fetching {len(missing)} packages, {sum(package.size for package in missing) / 1024**2:.1f} MiB")
        with archives() as root:
            _fetch(builder, root, missing)
    return found


def _whole(path: Path, package: Locked, log: StageLog) -> bool:
    if not path.exists():
        return False
    if path.stat().st_size == package.size and sha256_of(path) == package.sha256:
        return True
    log.line(f"the cached {package.file} is damaged: fetching it again")
    return False


def _fetch(builder: Builder, root: AptRoot, missing: Sequence[Locked]) -> None:
    """Fetch into a scratch folder, compare, and move into the cache: another builder sees all of a file or nothing."""
    with builder.scratch("fetch") as scratch:
        said = root.fetch([(package.filename, package.sha256, scratch / package.sha256) for package in missing])
        for package in missing:
            got = scratch / package.sha256
            if got.is_symlink():  # what apt makes of a file: archive
                shutil.copyfile(got.resolve(), scratch / "copy")
                (scratch / "copy").replace(got)
                builder.give(got)
            if not got.exists() or sha256_of(got) != package.sha256:
                reason = f" ({said.splitlines()[0]})" if said else ""
                raise Trouble(
                    f"no archive gives {package.name} {package.version} any more{reason}",
                    mend="look at the network; if the archives have moved on: toto update HOST, which makes a new lock",
                )
            goal = place(builder, package.sha256)
            builder.folder(goal.parent)
            got.chmod(0o644)
            got.replace(goal)


def control_of(builder: Builder, path: Path) -> Paragraph:
    """The control paragraph inside a .deb (deb(5)).

    Raises:
        CommandFailed: It is no .deb.
    """
    member, content = _control_member(path)
    if member not in ("control.tar", "control.tar.gz", "control.tar.xz"):
        text = builder.run(["dpkg-deb", "--field", str(path)], timeout=60).text
    else:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            inner = archive.extractfile("./control")
            text = inner.read().decode() if inner else ""
    return next(paragraphs(text))


def _control_member(path: Path) -> tuple[str, bytes]:
    """Name and content of an ar archive's second member: in a .deb that is its control archive."""
    with path.open("rb") as stream:
        if stream.read(8) != _AR_MAGIC:
            return "", b""
        for number in range(2):
            header = stream.read(60)
            size = int(header[48:58])
            if number == 1:
                return header[:16].decode().strip().rstrip("/"), stream.read(size)
            stream.seek(size + size % 2, os.SEEK_CUR)
    return "", b""

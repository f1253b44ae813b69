"""`toto-host-NAME`: a host as one Debian package.

Its Pre-Depends name every package of the lock at its exact version; its files are the host's own; its scripts
(`host_package/*.sh`) divert what stood in their place, set owners and modes, and enable and restart units. Why each of
this is so: docs/architecture.md, 'A Debian host is a package'.
"""

from __future__ import annotations

from pathlib import Path

from jobs.images.lock import Lock
from jobs.images.unprivileged import Builder
from server.core.control import render
from server.core.definition import DebianHost, FileEntry

FORMAT = 1
"""Raised when the same definition and lock have to become another package; part of every release's id."""
EPOCH = 1577836800
"""Time of all files of a release and of its index, 2020-01-01: the same release is the same bytes, whenever built."""
SHARE = Path("usr/share/toto")
SCRIPTS = Path(__file__).with_name("host_package")
NAMES = ("preinst", "postinst", "prerm", "postrm")


def version(release: str) -> str:
    """The package's version for a release id. Its order means nothing: a pin on the release's origin decides."""
    return f"1.{release[:12]}"


def name(host: DebianHost) -> str:
    """The package's name."""
    return f"toto-host-{host.name}"


def control(host: DebianHost, lock: Lock, release: str) -> str:
    """The package's control file."""
    needs = ", ".join(f"{package.name} (= {package.version})" for package in sorted(lock.packages))
    return render(
        {
            "Package": name(host),
            "Version": version(release),
            "Architecture": "all",
            "Protected": "yes",
            "Multi-Arch": "foreign",
            "Section": "metapackages",
            "Priority": "optional",
            "Maintainer": "toto <toto@localhost>",
            "Pre-Depends": needs,
            "Description": f"the host {host.name}, as toto built it\n Release {release}.",
        }
    )


def script(which: str, host: DebianHost, release: str) -> str:
    """One of the package's maintainer scripts."""
    text = (SCRIPTS / "common.sh").read_text() + (SCRIPTS / f"{which}.sh").read_text()
    files = "\n".join(f"{entry.mode:04o} {entry.owner} {entry.path}" for entry in ordered(host))
    values = {
        "@package@": name(host),
        "@version@": version(release),
        "@script@": which,
        "@units@": "\n".join(sorted(host.enable)),
        "@files@": files,
    }
    for marker, value in values.items():
        text = text.replace(marker, value)
    return text


def ordered(host: DebianHost) -> list[FileEntry]:
    """The host's files by path."""
    return sorted(host.files, key=lambda entry: str(entry.path))


def records(host: DebianHost, release: str) -> dict[Path, bytes]:
    """What the package says about itself on the host: its release, and its files for a check of drift."""
    sums = "".join(f"{entry.digest}  {entry.path}\n" for entry in ordered(host))
    rights = "".join(f"{entry.mode:04o} {entry.owner} {entry.path}\n" for entry in ordered(host))
    return {
        SHARE / "release": f"{release}\n".encode(),
        SHARE / "files.sha256": sums.encode(),
        SHARE / "files.rights": rights.encode(),
    }


def build(builder: Builder, scratch: Path, host: DebianHost, lock: Lock, release: str, timeout: float) -> Path:
    """The .deb in `scratch`, the same bytes each time.

    Raises:
        CommandFailed: dpkg-deb failed.
    """
    root = scratch / "package"
    for path, content in records(host, release).items():
        _write(root / path, content, 0o644)
    for entry in ordered(host):
        # dpkg-deb has to read it, and nobody else must in the meantime: postinst sets the mode that was asked for.
        _write(root / str(entry.path).lstrip("/"), entry.content, entry.mode if entry.mode & 0o400 else 0o600)
    _write(root / "DEBIAN/control", control(host, lock, release).encode(), 0o644)
    for which in NAMES:
        _write(root / "DEBIAN" / which, script(which, host, release).encode(), 0o755)
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        builder.give(path)
    goal = scratch / f"{name(host)}_{version(release)}_all.deb"
    env = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    argv = ["dpkg-deb", "--root-owner-group", "--threads-max=1", "-Zxz", "--build", str(root), str(goal)]
    builder.run(argv, timeout=timeout, env=env)
    return goal


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)

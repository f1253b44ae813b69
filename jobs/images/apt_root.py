"""apt in a private root: an empty dpkg status, its own sources and lists, this machine's way to the network.

The machine's own apt lists, packages and preferences are neither read nor changed. Its `Acquire::` settings (proxies,
retries, checks) and its keyrings apply: what this machine trusts and how it reaches an archive is its own matter.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.images.apt_sources import Source
from jobs.images.unprivileged import Builder
from server.core import process
from server.core.control import Paragraph, paragraphs
from server.core.errors import CommandFailed, Trouble

APT_HELPER = "/usr/lib/apt/apt-helper"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Debian's own keyring (package debian-archive-keyring)."""
TRUSTED = Path("/etc/apt/trusted.gpg.d")
FETCH_AT_ONCE = 200
"""Files on one command line of apt-helper."""


@dataclass(frozen=True)
class AptRoot:
    """One private root.

    Attributes:
        path: Its folder.
        sources: Where its packages come from.
        architecture: For which machines.
    """

    path: Path
    sources: tuple[Source, ...]
    architecture: str
    builder: Builder
    timeout: float

    def run(self, argv: Sequence[str], *, check: bool = True) -> process.Result:
        """Run one of apt's programs in this root."""
        env = {"APT_CONFIG": str(self.path / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
        return self.builder.run(argv, timeout=self.timeout, env=env, check=check)

    def update(self) -> process.Result:
        """Fetch the lists anew; the caller reads the result."""
        return self.run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"], check=False)

    def simulate(self, wanted: Sequence[str]) -> process.Result:
        """What `apt-get install` would install into nothing; the caller reads the result."""
        return self.run(["apt-get", "-s", "-q", "--no-install-recommends", "install", "--", *wanted], check=False)

    def names(self) -> frozenset[str]:
        """All names that have a package."""
        return frozenset(self.run(["apt-cache", "pkgnames"]).text.split())

    def mentioned(self) -> frozenset[str]:
        """All names that have a package, or that packages speak of: virtual ones too."""
        return frozenset(self.run(["apt-cache", "--all-names", "pkgnames"]).text.split())

    def records(self, wanted: Sequence[str]) -> list[Paragraph]:
        """The archives' records of packages, each as `name`, `name=version`."""
        return list(paragraphs(self.run(["apt-cache", "show", "--", *wanted]).text)) if wanted else []

    def versions(self, name: str) -> list[str]:
        """The versions of a package that the archives have, newest first."""
        shown = self.run(["apt-cache", "madison", "--", name], check=False).text
        return list(dict.fromkeys(line.split("|")[1].strip() for line in shown.splitlines() if line.count("|") >= 2))

    def fetch(self, files: Sequence[tuple[str, str, Path]]) -> str:
        """Fetch files that the archives have.

        Args:
            files: Path below an archive's root, SHA-256, and where the file is put. Each archive is asked in turn for
                what is still missing: where an archive keeps a file does not matter, its digest decides.

        Returns:
            What apt said about the files that it could not get; the caller looks which are missing.
        """
        said = ""
        for uri in dict.fromkeys(uri for source in self.sources for uri in source.uris):
            missing = [entry for entry in files if not entry[2].exists()]
            for start in range(0, len(missing), FETCH_AT_ONCE):
                argv = [APT_HELPER, "-q", "download-file"]
                for name, sha256, goal in missing[start : start + FETCH_AT_ONCE]:
                    argv += [f"{uri.rstrip('/')}/{name}", str(goal), f"SHA256:{sha256}"]
                result = self.run(argv, check=False)
                said += "".join(f"{line}\n" for line in _errors(result))
        return said


def _errors(result: process.Result) -> list[str]:
    lines = (result.stdout + b"\n" + result.stderr).decode(errors="replace").splitlines()
    return [line for line in lines if line.startswith(("E:", "W:", "Err:"))]


@contextlib.contextmanager
def apt_root(builder: Builder, sources: tuple[Source, ...], architecture: str, timeout: float) -> Iterator[AptRoot]:
    """The private root for these sources, kept in the cache with its lists; one user at a time."""
    text = "\n".join(source.text() for source in sources)
    key = hashlib.sha256(f"{architecture}\n{text}".encode()).hexdigest()[:16]
    path = builder.folder(builder.config.folder("cache", "apt", key))
    with (path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("lists/partial", "archives/partial", "log", "trusted"):
            builder.folder(path / name)
        (path / "status").touch()
        (path / "toto.sources").write_text(text)
        _trust(path / "trusted")
        (path / "apt.conf").write_text(_configuration(path, architecture) + _acquire(builder, timeout))
        yield AptRoot(path, sources, architecture, builder, timeout)


def _trust(folder: Path) -> None:
    """Keys for sources that name none: those that this machine's apt trusts, and Debian's own."""
    for file in folder.iterdir():
        file.unlink()
    for file in [*TRUSTED.glob("*.asc"), *TRUSTED.glob("*.gpg"), KEYRING]:
        if file.exists():
            (folder / file.name).symlink_to(file)


def _configuration(path: Path, architecture: str) -> str:
    settings = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": str(path / "toto.sources"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": str(path / "trusted"),
        "Dir::State": str(path),
        "Dir::State::lists": str(path / "lists"),
        "Dir::State::status": str(path / "status"),
        "Dir::State::extended_states": str(path / "extended_states"),
        "Dir::Cache": str(path),
        "Dir::Cache::archives": str(path / "archives"),
        "Dir::Log": str(path / "log"),
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    return "".join([*lines, f'APT::Architectures {{ "{architecture}"; }};\n'])


def _acquire(builder: Builder, timeout: float) -> str:
    """This machine's own settings for fetching, as apt prints them."""
    shown = builder.run(["apt-config", "dump"], timeout=timeout).text
    wanted = [line for line in shown.splitlines() if line.startswith("Acquire::")]
    return "".join(f"{line}\n" for line in wanted if not line.startswith("Acquire::Languages"))


def native_architecture(builder: Builder) -> str:
    """Debian's name for this machine's architecture.

    Raises:
        Trouble: This is no Debian machine.
    """
    try:
        return builder.run(["dpkg", "--print-architecture"], timeout=30).text
    except CommandFailed as error:
        raise Trouble(f"dpkg does not tell this machine's architecture: {error.what}") from error

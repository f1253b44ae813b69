"""Building without root: as an ordinary user, in a user namespace with subordinate ids.

toto's processes run as the system user `toto` already. Where a developer runs a build as root, the same user is used:
nobody builds as root. In the namespace the user is root (id 0) and the subordinate ids are everybody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.core import process
from server.core.config import Config
from server.core.errors import Trouble

BUILDER = "toto"
IDS = 65536
"""Subordinate ids that a Debian system in a namespace needs: up to `nobody`, 65534."""
MEND = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


@dataclass(frozen=True)
class Builder:
    """As whom builds run.

    Attributes:
        name: Its name, for messages and for /etc/subuid.
        switch: Whether this process is root and has to become it for each child.
        config: The settings, for the folder that is its home.
    """

    name: str
    uid: int
    gid: int
    switch: bool
    config: Config

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        data: bytes | None = None,
        on_output: process.Sink | None = None,
        check: bool = True,
        stop: Callable[[], bool] | None = None,
    ) -> process.Result:
        """`process.run` as this user; `on_output` takes stdout and stderr."""
        tmp = self.folder(self.config.folder("tmp"))
        proxies = {name: os.environ[name] for name in PROXIES if name in os.environ}
        return process.run(
            argv,
            timeout=timeout,
            env=process.environment({"HOME": str(tmp), "TMPDIR": str(tmp), **proxies, **(env or {})}),
            cwd=tmp,
            data=data,
            on_stdout=on_output,
            on_stderr=on_output,
            check=check,
            user=self.name if self.switch else None,
            group=grp.getgrgid(self.gid).gr_name if self.switch else None,
            stop=stop,
        )

    def folder(self, path: Path) -> Path:
        """Make a folder that this user may write, with those above it."""
        if not path.is_dir():
            self.folder(path.parent)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o770)
                self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a file or folder that this process made to the builder."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @contextlib.contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """A folder in the data folder's `tmp`, gone after the block. What a killed build left is removed first."""
        tmp = self.folder(self.config.folder("tmp"))
        with contextlib.ExitStack() as held:
            with _locked(self._lock("builds")):  # or another builder's sweep finds the folder before its lock is held
                self.sweep()
                path = Path(tempfile.mkdtemp(prefix=f"build-{prefix}-", dir=tmp))
                self.give(path)
                held.enter_context(_locked(self._lock(path.name)))
            try:
                yield path
            finally:
                self.remove(path)
                self._lock(path.name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the scratch folders whose build is gone: nobody holds their lock."""
        for path in self.config.folder("tmp").glob("build-*"):
            with contextlib.suppress(OSError), self._lock(path.name).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.remove(path)
                self._lock(path.name).unlink(missing_ok=True)

    def _lock(self, name: str) -> Path:
        """A lock's file; outside the folder that it is about, which a removal empties in any order."""
        return self.folder(self.config.folder("locks")) / name

    def remove(self, path: Path) -> None:
        """Remove a tree, files of the namespace's other users included."""
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            self.run(namespace(["rm", "-rf", "--one-file-system", "--", str(path)]), timeout=600)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def namespace(argv: Sequence[str]) -> list[str]:
    """The command as root of a new user namespace: own mounts and processes, no network; it dies with its starter."""
    kinds = ["--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts"]
    return [process.tool("unshare"), *kinds, "--", *argv]


def builder(config: Config) -> Builder:
    """Who builds on this machine: this process's user, or `toto` where it is root."""
    switch = os.geteuid() == 0
    try:
        entry = pwd.getpwnam(BUILDER) if switch else pwd.getpwuid(os.geteuid())
    except KeyError as error:
        mend = f"useradd --system --user-group --add-subids-for-system --no-create-home {BUILDER}"
        raise Trouble(f"there is no user {BUILDER} to build as, and nothing is built as root", mend=mend) from error
    return Builder(entry.pw_name, entry.pw_uid, entry.pw_gid, switch, config)


def ensure_builder(config: Config) -> Builder:
    """Who builds, after a trial of the namespace that builds need.

    Raises:
        Trouble: No user to build as, no subordinate ids, or a kernel that refuses user namespaces; says how to mend it.
    """
    found = builder(config)
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        if _subordinate(file, found) < IDS:
            raise Trouble(
                f"the user {found.name} has fewer than {IDS} subordinate ids", where=str(file), mend=MEND + found.name
            )
    trial = found.run(namespace(["true"]), timeout=30, check=False)
    if trial.code != 0:
        said = trial.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise Trouble(
            f"the user {found.name} cannot make a user namespace ({said[-1]})",
            mend="apt install uidmap; sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
        )
    return found


def _subordinate(file: Path, found: Builder) -> int:
    """How many ids the user has there (subuid(5): `name-or-id:first:count`)."""
    try:
        lines = [line.strip().split(":") for line in file.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(line[2]) for line in lines if len(line) == 3 and line[0] in (found.name, str(found.uid)))

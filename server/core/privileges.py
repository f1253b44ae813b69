"""Who toto's processes are. None needs root: started as root, toto makes two system users and drops to them.

`toto` (with subordinate ids, for user namespaces) builds, runs QEMU and passt, and serves the web. `toto-deploy` owns
the keys and deploys; both share the group `toto`. Started by anybody else, all of toto runs as that user.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from server.core import process
from server.core.config import Config
from server.core.errors import ConfigError, Trouble

BUILDER, DEPLOYER, GROUP = "toto", "toto-deploy", "toto"
SECRET = ("deploy", "release")
"""Folders below `keys` that only the deployer may read."""
FOLDERS = ("repos", "spool", "runs", "releases", "cache", "tmp", "locks", "redis", "keys/web", "keys/vm")
OURS = {"toto.db", "toto.toml", "keys", "log", "empty", *(name for name in FOLDERS if "/" not in name)}
"""Names at the top of a data folder by which it is known as one."""


@dataclass(frozen=True)
class Users:
    """As whom the two halves of toto run; None means as whoever started it."""

    builder: str | None
    deployer: str | None

    @property
    def group(self) -> str | None:
        """The group that both share."""
        return GROUP if self.builder else None


def users() -> Users:
    """As whom toto's processes run, when this process starts them."""
    return Users(BUILDER, DEPLOYER) if os.geteuid() == 0 else Users(None, None)


def exists(name: str) -> bool:
    """Whether the system has this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def make_users() -> None:
    """Make toto's system users where they are missing (needs root).

    Raises:
        CommandFailed: useradd refused.
    """
    common = ["--system", "--home-dir", "/var/lib/toto", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    if not exists(BUILDER):
        process.run(["useradd", *common, "--user-group", "--add-subids-for-system", BUILDER], timeout=30)
    if not exists(DEPLOYER):
        process.run(["useradd", *common, "--gid", GROUP, DEPLOYER], timeout=30)


def prepare(config: Config) -> None:
    """Make the data folder's parts, and give them to toto's users where this process is root.

    Raises:
        ConfigError: The folder holds other things, and nothing of toto's: it would all change its owner.
    """
    _refuse_other_folders(config.data)
    for parent in reversed(config.data.parents):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)  # whatever the umask: toto's users must get through
    old = os.umask(0o007)
    try:
        for name in FOLDERS:
            config.folder(name).mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(old)
    if os.geteuid() == 0 and exists(BUILDER):
        hand_over(config.data)


def _refuse_other_folders(data: Path) -> None:
    if not data.is_dir():
        return
    found = {path.name for path in data.iterdir()} - {"lost+found"}
    if found and not found & OURS:
        raise ConfigError(
            f"this folder holds other things ({min(found)}), and nothing of toto's",
            where=str(data),
            mend="choose an empty folder, or one that does not exist yet (--data, TOTO_DATA)",
        )


def give_back(config: Config) -> None:
    """Give the database to toto, where a command run as root has made it; `prepare` looks at the whole folder."""
    database = config.data / "toto.db"
    if os.geteuid() != 0 or not database.exists() or not exists(BUILDER):
        return
    builder = pwd.getpwnam(BUILDER)
    for path in (config.data, database, *(database.with_name(f"toto.db-{end}") for end in ("wal", "shm"))):
        _give(path, builder, secret=False)


def hand_over(top: Path) -> None:
    """Give everything below the data folder that root made to toto's users; folders keep their group for what is new.

    Raises:
        Trouble: The folder cannot be reached by the user it is for.
    """
    builder, deployer = pwd.getpwnam(BUILDER), pwd.getpwnam(DEPLOYER)
    keys = top / "keys"
    for folder, names, files in os.walk(top):
        if Path(folder).parent.parent == top / "cache" or folder.startswith(str(top / "tmp" / "")):
            names.clear()
        secret = any(Path(folder).is_relative_to(keys / name) for name in SECRET)
        owner = deployer if secret else builder
        for path in (Path(folder), *(Path(folder) / name for name in files)):
            _give(path, owner, secret=secret)
    _reachable(top)


def _give(path: Path, owner: pwd.struct_passwd, *, secret: bool) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if found.st_uid == 0:
        os.lchown(path, owner.pw_uid, builder_group())
    if stat.S_ISDIR(found.st_mode):
        wanted = 0o700 if secret else found.st_mode & 0o777 | 0o2070
        if stat.S_IMODE(found.st_mode) != wanted:
            path.chmod(wanted)


def builder_group() -> int:
    """The id of the group that both users share."""
    return pwd.getpwnam(BUILDER).pw_gid


def _reachable(top: Path) -> None:
    """Whether toto's users can get to the data folder at all (a folder below /root is closed to them)."""
    for parent in top.parents:
        if not parent.stat().st_mode & stat.S_IXOTH and parent.stat().st_gid != builder_group():
            raise Trouble(
                f"{parent} is closed to the users that toto runs as",
                where=str(top),
                mend="choose another data folder (--data, TOTO_DATA), such as /var/lib/toto",
            )

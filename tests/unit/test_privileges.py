"""Who owns what: the data folder's parts, and what is refused as one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.core import privileges
from server.core.config import Config
from server.core.errors import ConfigError, Trouble

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give things away")


def test_all_parts_are_made(open_folder: Path) -> None:
    config = Config(data=open_folder / "a" / "data")
    privileges.prepare(config)
    privileges.prepare(config)
    for name in privileges.FOLDERS:
        assert config.folder(name).is_dir()


def test_a_folder_of_other_things_is_refused_and_left_alone(open_folder: Path) -> None:
    (open_folder / "letters").mkdir()
    before = (open_folder / "letters").stat()
    with pytest.raises(ConfigError, match=r"this folder holds other things \(letters\)"):
        privileges.prepare(Config(data=open_folder))
    assert [path.name for path in open_folder.iterdir()] == ["letters"]
    after = (open_folder / "letters").stat()
    assert (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode)


def test_a_new_disk_with_settings_is_taken(open_folder: Path) -> None:
    (open_folder / "lost+found").mkdir()
    privileges.prepare(Config(data=open_folder))
    assert (open_folder / "repos").is_dir()


def test_nobody_but_root_drops_to_other_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert privileges.users() == privileges.Users(None, None)
    assert privileges.users().group is None


@root
def test_root_gives_everything_to_two_users(open_folder: Path) -> None:
    privileges.make_users()
    config = Config(data=open_folder / "data")
    privileges.prepare(config)
    for name in ("deploy", "release"):
        folder = config.folder("keys", name)
        folder.mkdir(exist_ok=True)
        (folder / "id").touch(0o600)
    (config.data / "toto.db").touch(0o660)
    privileges.prepare(config)
    assert (config.data / "toto.db").owner() == "toto"
    assert config.folder("repos").owner() == "toto"
    assert config.folder("repos").stat().st_mode & 0o7777 == 0o2770
    for name in ("deploy", "release"):
        assert config.folder("keys", name).owner() == "toto-deploy"
        assert config.folder("keys", name).stat().st_mode & 0o7777 == 0o700
        assert config.folder("keys", name, "id").owner() == "toto-deploy"
        assert config.folder("keys", name, "id").stat().st_mode & 0o777 == 0o600


@root
def test_what_others_own_stays_theirs(open_folder: Path) -> None:
    privileges.make_users()
    config = Config(data=open_folder / "data")
    privileges.prepare(config)
    (config.folder("spool") / "note").touch()
    os.chown(config.folder("spool") / "note", 65534, 65534)
    (config.folder("spool") / "link").symlink_to("/etc/passwd")
    privileges.prepare(config)
    assert (config.folder("spool") / "note").stat().st_uid == 65534
    assert Path("/etc/passwd").stat().st_uid == 0


@root
def test_a_command_of_roots_leaves_the_database_to_toto(open_folder: Path) -> None:
    privileges.make_users()
    config = Config(data=open_folder)
    privileges.give_back(config)
    assert open_folder.stat().st_uid == 0
    (open_folder / "toto.db").touch(0o660)
    (open_folder / "other").touch()
    privileges.give_back(config)
    assert (open_folder / "toto.db").owner() == "toto"
    assert open_folder.owner() == "toto"
    assert (open_folder / "other").owner() == "root"


@root
def test_a_folder_that_its_users_cannot_reach_is_told(open_folder: Path) -> None:
    privileges.make_users()
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Trouble, match=r"closed is closed to the users that toto runs as"):
        privileges.prepare(Config(data=closed / "data"))

"""Repositories with real git, in a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from server.core import repos
from server.core.config import Config
from server.core.errors import CommandFailed, Trouble, UsageFault
from server.core.tree import EXECUTABLE, FILE, LINK, SUBMODULE


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=A B", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Config(data=tmp_path / "data")


@pytest.fixture
def work(tmp_path: Path, config: Config) -> Path:
    place = tmp_path / "work"
    config.data.mkdir()
    bare = repos.create(config, "home", "main")
    git(tmp_path, "init", "-q", "-b", "main", str(place))
    (place / "a").write_text("one\n")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "first\n\nbody")
    git(place, "remote", "add", "origin", str(bare))
    git(place, "push", "-q", "origin", "main")
    return place


def bare(config: Config) -> Path:
    return repos.folder(config, "home")


def test_a_repository_is_made_once_and_then_brought_up_to_date(config: Config) -> None:
    config.data.mkdir()
    path = repos.create(config, "home", "main")
    assert path == config.data / "repos" / "home.git"
    assert git(path, "config", "core.bare") == "true"
    assert git(path, "config", "core.sharedRepository") in ("group", "1")
    assert git(path, "config", "receive.advertisePushOptions") == "true"
    assert git(path, "config", "receive.denyNonFastForwards") == "false"
    assert repos.deployed_branch(path) == "main"
    git(path, "config", "--unset", "receive.advertisePushOptions")
    assert repos.create(config, "home", "trunk") == path
    assert git(path, "config", "receive.advertisePushOptions") == "true"
    assert repos.deployed_branch(path) == "trunk"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write the machine's settings")
def test_root_enters_a_repository_once_among_the_safe_ones(config: Config, tmp_path: Path) -> None:
    config.data.mkdir()
    for _ in range(2):
        repos.create(config, "home", "main")
    assert (tmp_path / "gitconfig").read_text().count("home.git") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_data_folder_and_can_be_read(
    config: Config, tmp_path: Path
) -> None:
    config.data.mkdir()
    os.chown(config.data, 65534, 65534)
    path = repos.create(config, "home", "main")
    assert {place.stat().st_uid for place in (path, *path.rglob("*"))} == {65534}
    assert path.stat().st_mode & 0o2070 == 0o2070
    (tmp_path / "gitconfig").unlink()
    assert repos.heads(path) == {}
    assert repos.deployed_branch(path) == "main"


@pytest.mark.parametrize(
    "name", ["", "-x", "../x", "a/b", ".x", "a b", "x.git", "x.lock", "a..b", "x\n", "x" * 64, "x."]
)
def test_names_that_are_none(config: Config, name: str) -> None:
    with pytest.raises(UsageFault):
        repos.create(config, name, "main")
    assert not config.data.exists()


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "-x",
        "--output=x",
        "a..b",
        "a b",
        "a^",
        "a~1",
        "a:b",
        "@{-1}",
        "@",
        "a\n",
        ".a",
        "/a",
        "a/",
        "a.lock",
        "a//b",
    ],
)
def test_refs_that_are_none(config: Config, work: Path, ref: str) -> None:
    with pytest.raises(UsageFault, match="no branch, tag or commit"):
        repos.resolve(bare(config), ref)
    with pytest.raises(UsageFault):
        repos.create(config, "x", ref)


def test_branches_tags_and_commits_are_resolved_in_this_order(config: Config, work: Path) -> None:
    first = git(work, "rev-parse", "HEAD")
    git(work, "tag", "-a", "v1", "-m", "tag")
    (work / "a").write_text("two\n")
    git(work, "commit", "-qam", "second")
    second = git(work, "rev-parse", "HEAD")
    git(work, "tag", "main", first)
    git(work, "push", "-q", "origin", "refs/tags/v1", "refs/tags/main", "refs/heads/main", "HEAD:refs/heads/f/x")
    path = bare(config)
    assert repos.resolve(path, "main") == second
    assert repos.resolve(path, "refs/tags/main") == first
    assert repos.resolve(path, "v1") == first
    assert repos.resolve(path, "f/x") == second
    assert repos.resolve(path, "HEAD") == second
    assert repos.resolve(path, first) == first
    assert repos.resolve(path, first[:9]) == first
    for absent in ("none", "0" * 40, "abcdef1"):
        with pytest.raises(UsageFault, match="no such ref"):
            repos.resolve(path, absent)
    assert repos.heads(path) == {"main": second, "f/x": second}


def test_a_tree_has_all_files_with_their_modes(config: Config, work: Path) -> None:
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / "d").mkdir()
    (work / "d" / "ä\nb").write_bytes(b"\xff\x00\n")
    (work / "l").symlink_to("../out")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    git(work, "add", "a", "run", "d", "l")
    git(work, "commit", "-qm", "files")
    git(work, "push", "-q", "origin", "main")
    path = bare(config)
    tree = repos.tree(path, repos.resolve(path, "main"))
    modes = {name: entry.mode for name, entry in tree.entries.items()}
    assert modes == {"a": FILE, "d/ä\nb": FILE, "l": LINK, "run": EXECUTABLE, "sub": SUBMODULE}
    assert tree.entries["a"].size == 4
    assert [tree.read(name) for name in ("a", "l", "d/ä\nb", "a")] == [b"one\n", b"../out", b"\xff\x00\n", b"one\n"]
    for absent in ("none", "d", "sub"):
        with pytest.raises(KeyError):
            tree.read(absent)


def test_what_is_told_of_commits(config: Config, work: Path) -> None:
    first = git(work, "rev-parse", "HEAD")
    git(work, "commit", "-q", "--allow-empty", "-m", "second: ä")
    git(work, "push", "-q", "origin", "main")
    second = git(work, "rev-parse", "HEAD")
    path = bare(config)
    assert repos.subject(path, first) == "first"
    info = repos.commit_info(path, second)
    assert (info.id, info.author, info.subject) == (second, "A B", "second: ä")
    assert info.when.tzinfo is not None
    assert repos.is_ancestor(path, first, second)
    assert not repos.is_ancestor(path, second, first)
    for call in (repos.tree, repos.subject):
        with pytest.raises(CommandFailed):
            call(path, "1" * 40)
        with pytest.raises(UsageFault, match="40 digits"):
            call(path, "main")
    with pytest.raises(CommandFailed):
        repos.is_ancestor(path, "1" * 40, second)


def test_a_folder_that_is_no_repository_is_trouble(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(Trouble, match="there is no repository"):
            repos.heads(place)

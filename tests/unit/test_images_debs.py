"""The cache of .debs: fetched once, never trusted unread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jobs.images import debs
from jobs.images.lock import Locked
from jobs.images.unprivileged import Builder
from server.core.config import Config
from server.core.errors import Trouble
from tests import images

CONTENT = {"pool/a_1.0_amd64.deb": b"content of a", "pool/b_1.0_amd64.deb": b"content of b"}


class Archives:
    """An archive whose files are values; keeps what was asked for."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.asked: list[str] = []
        self.link_from: Path | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Archives]:
        yield self

    def fetch(self, files: Sequence[tuple[str, str, Path]]) -> str:
        for name, _, goal in files:
            self.asked.append(name)
            if self.link_from is not None:
                (self.link_from / Path(name).name).write_bytes(self.content[name])
                goal.symlink_to(self.link_from / Path(name).name)
            elif name in self.content:
                goal.write_bytes(self.content[name])
        return "" if self.content else "E: Failed to fetch http://mirror.example/pool  404  Not Found\n"


A, B = (images.locked(name, content=f"content of {name}".encode()) for name in "ab")


@pytest.fixture
def found(config: Config) -> Builder:
    return images.plain_builder(config)


def ensure(found: Builder, archives: Archives, *wanted: Locked) -> list[bytes]:
    paths = debs.ensure(found, wanted, archives.open, images.KeptLog())  # type: ignore[arg-type]
    return [paths[package.sha256].read_bytes() for package in wanted]


def test_what_is_there_is_not_fetched_again(found: Builder) -> None:
    archives = Archives()
    assert ensure(found, archives, A) == [b"content of a"]
    assert ensure(found, archives, A, B) == [b"content of a", b"content of b"]
    assert archives.asked == ["pool/a_1.0_amd64.deb", "pool/b_1.0_amd64.deb"]


@pytest.mark.parametrize("damage", [b"content of x", b"cut", b""])
def test_a_damaged_file_is_fetched_again(found: Builder, damage: bytes) -> None:
    archives = Archives()
    ensure(found, archives, A)
    debs.place(found, A.sha256).write_bytes(damage)
    log = images.KeptLog()
    debs.ensure(found, [A], archives.open, log)  # type: ignore[arg-type]
    assert debs.place(found, A.sha256).read_bytes() == b"content of a"
    assert log.lines[0] == "the cached a_1.0_amd64.deb is damaged: fetching it again"


def test_a_file_archives_link_becomes_a_file_of_our_own(found: Builder, tmp_path: Path) -> None:
    archives = Archives()
    archives.link_from = tmp_path
    ensure(found, archives, A)
    kept = debs.place(found, A.sha256)
    assert not kept.is_symlink() and kept.read_bytes() == b"content of a"


def test_what_no_archive_has_any_more_is_said_and_what_to_do(found: Builder) -> None:
    archives = Archives()
    archives.content = {}
    with pytest.raises(Trouble) as told:
        ensure(found, archives, A)
    assert told.value.what.startswith("no archive gives a 1.0 any more (E: Failed to fetch")
    assert "toto update HOST" in told.value.mend


def test_an_archive_that_gives_something_else_is_not_believed(found: Builder) -> None:
    archives = Archives()
    archives.content["pool/a_1.0_amd64.deb"] = b"something else"
    with pytest.raises(Trouble, match="no archive gives a"):
        ensure(found, archives, A)
    assert not debs.place(found, A.sha256).exists()


def test_nothing_is_left_in_tmp_even_when_it_fails(found: Builder) -> None:
    archives = Archives()
    ensure(found, archives, A)
    archives.content = {}
    with pytest.raises(Trouble):
        ensure(found, archives, B)
    assert list(found.config.folder("tmp").iterdir()) == []


def test_what_a_killed_build_left_goes_with_the_next_one(found: Builder) -> None:
    left = found.folder(found.config.folder("tmp", "build-image-x"))
    (left / "upper").mkdir()
    with found.scratch("other") as held:
        assert not left.exists()
        found.sweep()
        assert held.exists(), "a build that still runs keeps its folder"
    assert not held.exists()

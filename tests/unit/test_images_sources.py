"""Which apt sources a host is built from."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.images.apt_sources import Source, deb822, for_suite, one_line, sources
from server.core.errors import Trouble

DEB822 = """\
# Debian's own
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb-src
URIs: http://mirror.example/source
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/off
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example
Suites: nodistro
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    return folder


def test_one_line_is_read_with_the_options_that_verify() -> None:
    line = "deb [arch=amd64 signed-by=/etc/apt/keyrings/a.gpg] http://mirror.example/debian/ bookworm main contrib # x"
    expected = Source(
        ("http://mirror.example/debian/",),
        ("bookworm",),
        ("main", "contrib"),
        (("signed-by", "/etc/apt/keyrings/a.gpg"),),
    )
    assert one_line(line) == expected


@pytest.mark.parametrize("line", ["", "# deb http://a b c", "deb-src http://a bookworm main", "debian http://a b"])
def test_lines_that_are_no_binary_source(line: str) -> None:
    assert one_line(line) is None


def test_deb822_leaves_out_what_is_disabled_or_source_only() -> None:
    uris = [source.uris[0] for source in deb822(DEB822)]
    assert uris == ["http://mirror.example/debian", "http://mirror.example/security", "http://other.example"]


def test_an_inline_key_keeps_its_lines() -> None:
    text = deb822(DEB822)[1].text()
    assert "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n" in text


def test_the_builders_sources_get_the_hosts_suite_and_others_are_left_out(etc: Path) -> None:
    (etc / "sources.list.d/debian.sources").write_text(DEB822)
    (etc / "sources.list").write_text("deb http://old.example bookworm main\ndeb http://third.example stable x\n")
    (etc / "sources.list.d/off.sources.disabled").write_text(DEB822)
    found = [(source.uris, source.suites) for source in sources("trixie", etc=etc, codename="bookworm")]
    assert found == [
        (("http://old.example",), ("trixie",)),
        (("http://mirror.example/debian",), ("trixie", "trixie-updates")),
        (("http://mirror.example/security",), ("trixie-security",)),
    ]


def test_sid_has_neither_updates_nor_security() -> None:
    source = Source(("http://a",), ("bookworm", "bookworm-updates", "bookworm-security"), ("main",))
    changed = for_suite(source, "bookworm", "sid")
    assert changed is not None and changed.suites == ("sid",)


def test_the_fleets_sources_come_instead_of_the_builders(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://old.example bookworm main\n")
    given = ("deb [signed-by=/etc/apt/keyrings/a.gpg] http://mirror.example/debian trixie main",)
    assert [source.uris for source in sources("trixie", given, etc, "bookworm")] == [("http://mirror.example/debian",)]


def test_no_source_is_said_with_where_and_what_to_do(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://third.example stable x\n")
    with pytest.raises(Trouble) as told:
        sources("trixie", etc=etc, codename="bookworm")
    assert told.value.where == str(etc)
    assert "Debian bookworm" in told.value.what and "[fleet] sources" in told.value.mend

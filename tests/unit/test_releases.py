"""Releases on disk: taken in by their id, verified whenever they are opened."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from jobs.images import repository
from server.core import releases
from server.core.config import Config
from server.core.errors import Trouble
from server.core.releases import ReleaseFiles

ID = "cd" * 32


def make(config: Config, name: str = "fresh", deb: bytes = b"a deb") -> Path:
    """A small finished release in the data folder's tmp."""
    folder = config.folder("tmp", name)
    (folder / "debs").mkdir(parents=True)
    stanzas = {}
    entries = {"a_1_all.deb": ("a", deb), "toto-host-web_1.x_all.deb": ("toto-host-web", b"own")}
    for file, (package, content) in entries.items():
        (folder / "debs" / file).write_bytes(content)
        control = {"Package": package, "Version": "1", "Architecture": "all"}
        stanzas[file] = repository.stanza(control, file, len(content), hashlib.sha256(content).hexdigest())
    index = repository.packages(stanzas)
    repository.write(folder, index, repository.release(ID, "bookworm", ["amd64"], index, 0))
    said = {
        "id": ID,
        "host": "web",
        "backend": "debian",
        "identity": "i",
        "lock": "l",
        "commit": "c",
        "suite": "bookworm",
        "architecture": "amd64",
        "sources": [],
        "version": "1.x",
        "created": "2026-01-01T00:00:00+00:00",
        "packages": [
            {
                "name": "a",
                "version": "1",
                "architecture": "all",
                "sha256": hashlib.sha256(deb).hexdigest(),
                "size": len(deb),
                "file": "a_1_all.deb",
            }
        ],
    }
    (folder / "release.json").write_text(json.dumps(said))
    return folder


def test_a_release_is_opened_by_its_id(config: Config) -> None:
    releases.put(config, make(config))
    found = releases.open(config, ID)
    assert (found.host, found.version, found.origin) == ("web", "1.x", "toto-cdcdcdcdcdcd")
    assert [package.name for package in found.packages] == ["a"]
    assert [path.name for path in found.debs] == ["a_1_all.deb", "toto-host-web_1.x_all.deb"]


def test_what_is_there_and_whole_stays(config: Config) -> None:
    releases.put(config, make(config))
    kept = config.folder("releases", ID, "debs", "a_1_all.deb").stat().st_ino
    again = make(config, "again")
    releases.put(config, again)
    assert config.folder("releases", ID, "debs", "a_1_all.deb").stat().st_ino == kept
    assert not again.exists()


@pytest.mark.parametrize("file", ["debs/a_1_all.deb", "debs/toto-host-web_1.x_all.deb", "Packages", "Release"])
@pytest.mark.parametrize("remove", [False, True])
def test_damage_is_found_and_mended_by_a_build(config: Config, file: str, remove: bool) -> None:
    releases.put(config, make(config))
    path = config.folder("releases", ID, file)
    if remove:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    if file != "Release" or remove:
        with pytest.raises(Trouble) as told:
            releases.open(config, ID)
        assert "toto rebuild" in told.value.mend
    releases.put(config, make(config, "again"))
    releases.open(config, ID)
    assert [path.name for path in config.folder("releases").iterdir()] == [ID]


def test_a_release_json_that_says_otherwise_is_damage(config: Config) -> None:
    folder = make(config)
    said = json.loads((folder / "release.json").read_text())
    said["packages"][0]["sha256"] = "0" * 64
    (folder / "release.json").write_text(json.dumps(said))
    with pytest.raises(Trouble, match=r"release\.json"):
        ReleaseFiles(folder).verify()


@pytest.mark.parametrize("name", ["../tmp/fresh", "x", "ef" * 32])
def test_what_is_no_release_is_said(config: Config, name: str) -> None:
    make(config)
    with pytest.raises(Trouble, match="no release"):
        releases.open(config, name)

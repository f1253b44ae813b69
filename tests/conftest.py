"""Fixtures that all tests share: a toto of its own in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.core.config import Config
from server.core.store import Store
from tests.services import redis_server


@pytest.fixture(autouse=True)
def own_git_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own git settings stay as they are: toto enters its repositories in the system's file as root."""
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings with a data folder of their own."""
    data = tmp_path / "data"
    data.mkdir()
    return Config(data=data)


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    """An empty database."""
    made = Store(config)
    yield made
    made.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach, with a short name (for sockets and for toto's own users)."""
    folder = Path(tempfile.mkdtemp(prefix="toto-t.", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_config(open_folder: Path) -> Iterator[Config]:
    """Settings whose Redis is a real one, on a socket in their own data folder."""
    made = Config(data=open_folder / "data")
    made.folder("redis").mkdir(parents=True)
    with redis_server(made.folder("redis")):
        yield made

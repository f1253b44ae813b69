"""Writes the hooks of a repository: templates beside this file, with the place of this toto filled in."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Protocol

from hooks import spool
from hooks.check import REFUSED
from server.core import repos
from server.core.config import Config

HOOKS = ("pre-receive", "post-receive")


class RepoStore(Protocol):
    """What is needed of `server.core.store.Store`."""

    def add_repo(self, name: str, path: str, branch: str) -> object:
        """Enter a repository, or change its path and deployed branch."""
        ...


def command() -> tuple[str, ...]:
    """The command line of this toto, absolute: its console script, or its module where there is none.

    Neither has a working directory on Python's path, so no folder of a repository is ever imported.
    """
    script = Path(sys.executable).parent / "toto"
    return (str(script),) if script.exists() else (sys.executable, "-P", "-m", "server.cli")


def address(config: Config) -> str:
    """Where the pages are: as set, else where `toto up` last served them, else where it would by default."""
    try:
        served = (config.data / "address").read_text().strip()
    except OSError:
        served = ""
    return config.address if config.url or not served else served


def install(config: Config, repo_path: Path) -> None:
    """Write both hooks of a repository, or bring them up to date; it may receive pushes meanwhile.

    Raises:
        OSError: The repository cannot be written.
    """
    spool.prepare(config)
    values = {
        "@TOTO@": shlex.join(command()),
        "@DATA@": shlex.quote(str(config.data)),
        "@SPOOL@": shlex.quote(str(spool.folder(config))),
        "@REPO@": shlex.quote(repo_path.name.removesuffix(".git")),
        "@ADDRESS@": shlex.quote(address(config)),
        "@REFUSED@": str(REFUSED),
    }
    folder = repo_path / "hooks"
    folder.mkdir(exist_ok=True)
    (repo_path / "toto").mkdir(exist_ok=True)
    for name in HOOKS:
        text = (Path(__file__).parent / name).read_text()
        for word, value in values.items():
            text = text.replace(word, value)
        _write(folder / name, text)
    for place in (folder, repo_path / "toto"):
        repos.hand_over(config, place)
    # Whoever pushes runs these, root too; so only their owner writes them.
    folder.chmod(0o755)


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text and os.access(path, os.X_OK):
        return
    making = path.with_name(f".{path.name}.{os.getpid()}")
    making.write_text(text)
    making.chmod(0o755)
    making.replace(path)


def add_repository(config: Config, name: str, branch: str, store: RepoStore) -> Path:
    """Make a repository with its hooks and enter it; for one that exists, refresh settings, hooks and branch.

    Raises:
        UsageFault: The name or the branch is none.
        CommandFailed: git could not make it.
        OSError: The data folder cannot be written.
        StoreTrouble: The database could not be written.
    """
    config.data.mkdir(parents=True, exist_ok=True)
    path = repos.create(config, name, branch)
    install(config, path)
    store.add_repo(name, str(path), branch)
    return path

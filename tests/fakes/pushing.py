"""A fleet's repository in a toto of the test's own, and a checkout that pushes to it by path: real git, real hooks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hooks import install, spool
from server.core import repos
from server.core.config import Config
from server.core.store import Store

SOUND = {
    "fleet.toml": '[fleet]\nname = "home"\n[hosts.web]\nbackend = "debian"\naddress = "web.lan"\n',
    "hosts/web.toml": 'suite = "bookworm"\ninclude = ["../roles/base.toml"]\n',
    "roles/base.toml": 'packages = ["curl"]\n',
    "README": "a fleet\n",
}


@dataclass(frozen=True)
class Answer:
    """How a push ended: its exit code, and what the hooks said."""

    code: int
    text: str

    @property
    def said(self) -> list[str]:
        told = [line.removeprefix("remote: ") for line in self.text.splitlines() if line.startswith("remote: ")]
        return [line.strip() for line in told if line.strip()]


class Pushing:
    """One repository and one checkout."""

    def __init__(self, place: Path, files: Mapping[str, str] = SOUND, *, redis: str = "redis://127.0.0.1:1/0") -> None:
        self.config = Config(data=place / "data", redis=redis)
        self.config.data.mkdir()
        self.store = Store(self.config)
        self.bare = install.add_repository(self.config, "home", "main", self.store)
        self.work = place / "work"
        self.git("init", "-q", "-b", "main", str(self.work), cwd=place)
        self.git("remote", "add", "origin", str(self.bare))
        self.write(files)

    def git(self, *arguments: str, cwd: Path | None = None, check: bool = True, **env: str) -> Answer:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
        done = subprocess.run(
            command, cwd=cwd or self.work, capture_output=True, text=True, env={**os.environ, **env}, timeout=120
        )
        assert not check or done.returncode == 0, done.stderr
        return Answer(done.returncode, done.stdout + done.stderr)

    def write(self, files: Mapping[str, str | None], message: str = "change") -> str:
        """Commit files (None removes one, `-> x` makes a link, `!…` sets the run bit); the commit."""
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if content is not None and content.startswith("-> "):
                path.symlink_to(content[3:])
            elif content is not None:
                path.write_text(content)
                path.chmod(0o755 if content.startswith("#!") else 0o644)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").text.strip()

    def push(self, *arguments: str, **env: str) -> Answer:
        return self.git("push", *(arguments or ("origin", "main")), check=False, **env)

    def taken(self) -> dict[str, str]:
        return dict(repos.heads(self.bare))

    def notes(self) -> list[dict[str, str]]:
        """The spool's files, oldest first, as their keys and values."""
        found = []
        for path in spool.waiting(self.config):
            lines = path.read_text().splitlines()
            assert lines[0] == "toto-push 1"
            assert lines[-1] == "end"
            found.append(dict(line.split(" ", 1) for line in lines[1:-1]))
        return found

"""The engineer of the demo: a checkout of the example fleet, and what each push changes in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from parts import Targets, copy_example, run

AUTHOR = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]


class Example:
    """The example fleet under git."""

    def __init__(self, folder: Path, remote: str, targets: Targets) -> None:
        self.folder = folder
        copy_example(folder)
        self._address(targets)
        self.git("init", "-q")
        self.git("checkout", "-q", "-B", "main")
        self.git("remote", "add", "toto", remote)

    def git(self, *words: str) -> str:
        """A git command in the checkout."""
        return run(["git", *AUTHOR, "-C", str(self.folder), *words]).stdout

    def _address(self, targets: Targets) -> None:
        """Ports and host keys of this demo's targets into fleet.toml."""
        file = self.folder / "fleet.toml"
        text = file.read_text()
        for name in targets.names:
            made = targets.made[name]
            section = re.compile(rf"(\[hosts\.{name}\][^\[]*?)port = \d+", re.DOTALL)
            text = section.sub(rf'\g<1>port = {made["port"]}\nhost_key = "{made["host_key"]}"', text, count=1)
        file.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the checkout."""
        file = self.folder / name
        text = file.read_text()
        if old not in text:
            raise SystemExit(f"demo: {name} has no {old!r}")
        file.write_text(text.replace(old, new))

    def change(self, number: int) -> str:
        """What push `number` changes; returns the commit's subject."""
        match number:
            case 1:
                return "The example fleet"
            case 2:
                self.edit("README.md", "# An example fleet", "# The example fleet")
                return "Say it better in the README"
            case 3:
                self.edit("files/web/site.conf", "root /var/www/html;", "root /var/www/htm;")
                return "Serve the page from another folder (it has a typing error)"
            case _:
                self.edit(
                    "files/web/site.conf",
                    "root /var/www/htm;",
                    "root /var/www/html;\n    include /etc/nginx/local.d/*.conf;",
                )
                self.edit("files/web/index.html", "release one", "release two")
                return "Serve release two, with what the machine adds of its own"

    def push(self, number: int) -> str:
        """Commit and push; returns the id of the push, as the hook printed it."""
        subject = self.change(number)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        self.git("--no-pager", "log", "-1", "--stat", "--format=%h %s")
        argv = ["git", "-C", str(self.folder), "push", "toto", "main"]
        env = {**os.environ, "TOTO_PUSHER": "ada"}
        result = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False, env=env)
        print(result.stderr.rstrip(), flush=True)
        found = re.search(r"/pushes/([0-9A-Za-z_-]+)", result.stderr)
        if result.returncode != 0 or found is None:
            raise SystemExit(f"demo: git push ended with {result.returncode}\n{result.stderr}")
        sys.stdout.flush()
        return found[1]

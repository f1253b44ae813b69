"""OpenSSH as a child process: one connection setting, many commands over it.

Used for the VM (through a unix socket) and for targets (over TCP). Every connection pins the host key, asks nothing,
and ignores the user's own configuration. Exit status 255 is ssh's own: nothing is known then of the command's fate.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from server.core import process

LOST = 255
"""ssh's exit status for its own failures (ssh(1), EXIT STATUS)."""


@dataclass(frozen=True)
class Ssh:
    """How to reach one machine.

    Attributes:
        address: Host name or address; only a label where `proxy` is set.
        user: Login name there.
        key: Private key file.
        known_hosts: File that pins the machine's host key under the name `alias`.
        alias: Name of the machine in `known_hosts`.
        port: TCP port.
        proxy: ProxyCommand, made by toto alone, never from pushed text.
        jump: `user@host:port` of a jump host, validated by the fleet's checks.
        control: Socket of a shared connection; None for a fresh connection for each command.
        connect_timeout: Seconds.
    """

    address: str
    user: str
    key: Path
    known_hosts: Path
    alias: str
    port: int = 22
    proxy: str | None = None
    jump: str | None = None
    control: Path | None = None
    connect_timeout: int = 10
    options: tuple[str, ...] = field(default=())

    def argv(self, command: str) -> list[str]:
        """The command line of ssh that runs `command` there (a string: the far side's shell reads it)."""
        settings = [
            "BatchMode=yes",
            f"ConnectTimeout={self.connect_timeout}",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=6",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            f"HostKeyAlias={self.alias}",
            "IdentitiesOnly=yes",
            "PasswordAuthentication=no",
            "LogLevel=ERROR",
            "RequestTTY=no",
            *self.options,
        ]
        if self.proxy:
            settings.append(f"ProxyCommand={self.proxy}")
        if self.control:
            settings += ["ControlMaster=auto", f"ControlPath={self.control}", "ControlPersist=60"]
        else:
            settings += ["ControlMaster=no", "ControlPath=none"]
        flags = [flag for setting in settings for flag in ("-o", setting)]
        jump = ["-J", self.jump] if self.jump else []
        where = ["-i", str(self.key), "-p", str(self.port), "-l", self.user, "--", self.address, command]
        return ["ssh", "-F", "none", *flags, *jump, *where]

    def run(
        self,
        command: str,
        *,
        timeout: float,
        data: bytes | IO[bytes] | None = None,
        on_stdout: process.Sink | None = None,
        on_stderr: process.Sink | None = None,
        check: bool = False,
        limit: int = 64 * 1024 * 1024,
        stop: Callable[[], bool] | None = None,
    ) -> process.Result:
        """Run a command there. With `check` unset, the result's code is the command's own, or 255 (`LOST`).

        Raises:
            CommandFailed: It did not end with 0, and `check` was set.
        """
        return process.run(
            self.argv(command),
            timeout=timeout,
            data=data,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            check=check,
            limit=limit,
            stop=stop,
        )

    def close(self) -> None:
        """End a shared connection, if there is one."""
        if self.control and self.control.exists():
            argv = ["ssh", "-F", "none", "-o", f"ControlPath={self.control}", "-O", "exit", "--", self.address]
            process.run(argv, timeout=10, check=False)


@contextlib.contextmanager
def control_folder() -> Iterator[Path]:
    """A short-named private folder for a control socket (a unix socket's path holds 107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="toto-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""A `toto up` of a test's own: the real command, and what the machine knows of its processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services import wait_until

TOTO = Path(sys.executable).parent / "toto"
SECONDS = 90.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(data: Path, **more: str) -> dict[str, str]:
    """What a person's shell gives to toto, and nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "GIT_CONFIG_SYSTEM") if name in os.environ}
    return {**kept, "TOTO_DATA": str(data), "LC_ALL": "C.UTF-8", **more}


def toto(data: Path, *words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """One command of toto, to its end."""
    return subprocess.run(
        [str(TOTO), *words], env=environment(data, **more), cwd=cwd, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=SECONDS,
    )  # fmt: skip


def processes(data: Path) -> dict[int, str]:
    """Every process whose environment or command line names this data folder, and its command line."""
    word, found = str(data).encode(), {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                if line and (word in line or b"TOTO_DATA=" + word in (folder / "environ").read_bytes()):
                    found[int(folder.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


@dataclass
class Up:
    """A running `toto up`."""

    data: Path
    port: int
    child: subprocess.Popen[bytes]
    said: Path

    @property
    def text(self) -> str:
        return self.said.read_text()

    def pid(self, pattern: str) -> int | None:
        """The oldest of toto's processes whose command line matches."""
        found = [pid for pid, line in processes(self.data).items() if re.search(pattern, line)]
        return min((pid for pid in found if pid != self.child.pid), default=None)

    def ready(self) -> None:
        wait_until(lambda: "ready http" in self.text or self.child.poll() is not None, SECONDS, "ready")
        assert self.child.poll() is None, self.text

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()

    def gone(self) -> None:
        """Nothing of it is left."""
        wait_until(lambda: not processes(self.data), 20, f"the end of {processes(self.data)}")


@contextlib.contextmanager
def up(
    data: Path,
    *words: str,
    before: Sequence[str] = (),
    cwd: Path | None = None,
    program: str = str(TOTO),
    **more: str,
) -> Iterator[Up]:
    """`toto up`, until the block ends; `before` stands before the command (setpriv …)."""
    port = free_port()
    said = data.with_name(f"{data.name}.said")
    argv = [*before, program, "up", "--port", str(port), "--workers", "1", *words]
    with said.open("wb") as output:
        child = subprocess.Popen(
            argv, env=environment(data, **more), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    made = Up(data, port, child, said)
    try:
        yield made
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.wait(SECONDS)
        made.gone()

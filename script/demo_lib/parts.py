"""The demo's parts: a toto of its own, driven by its commands alone, and two targets."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
TOTO = TOP / ".venv" / "bin" / "toto"
TARGET = TOP / "script" / "target"
READY_SECONDS = 120
PR_SET_PDEATHSIG = 1


def root_command() -> list[str]:
    """What a command that wants root begins with."""
    return [] if os.geteuid() == 0 else ["sudo"]


def die_with_us() -> None:
    """In a child: end when the demo does, however it ends, even between the child's start and the next line here."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def run(argv: Sequence[str], **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is shown where it fails."""
    result = subprocess.run(list(argv), text=True, capture_output=True, stdin=subprocess.DEVNULL, **more)  # type: ignore[call-overload]
    if result.returncode != 0:
        print(result.stdout + result.stderr, file=sys.stderr)
        raise SystemExit(f"demo: `{' '.join(map(str, argv))}` ended with {result.returncode}")
    return result  # type: ignore[no-any-return]


def free_port(wanted: int = 0) -> int:
    """A port of the loopback that is free; `wanted` where that one is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("demo: no port is free")


class Toto:
    """A toto with a data folder of its own."""

    def __init__(self, data: Path, port: int, user: str, password: str) -> None:
        self.data, self.port, self.user, self.password = data, port, user, password
        self.address = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Process id of `toto up`."""
        return self.process.pid if self.process else 0

    def command(self, *words: str) -> list[str]:
        """A command of toto on this data folder."""
        return [str(TOTO), *words, "--data", str(self.data)]

    def start(self) -> None:
        """`toto init` and `toto up`; returns when it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        answers = self.data.parent / "answers.toml"
        answers.touch(mode=0o600)
        answers.write_text(f'user = "{self.user}"\npassword = "{self.password}"\n')
        run(self.command("init", "--answers", str(answers)))
        answers.unlink()
        log = (self.data.parent / "up.log").open("w")
        self.process = subprocess.Popen(
            self.command("up", "--port", str(self.port)),
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("demo: toto did not start:\n" + Path(log.name).read_text())
            time.sleep(0.2)
        print(f"toto is ready at {self.address}")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                self.process.wait(30)

    def forget(self) -> list[str]:
        """The command that takes the demo's repository out of the machine's git settings, where root entered it."""
        path = str(self.data / "repos" / "example.git")
        return ["git", "config", "--system", "--fixed-value", "--unset-all", "safe.directory", path]

    def add_repository(self, name: str) -> str:
        """`toto repo add`; returns the address to push to."""
        said = run(self.command("repo", "add", name)).stdout
        found = re.search(r"git remote add \S+ (\S+)", said)
        if found is None:
            raise SystemExit(f"demo: `toto repo add` printed no address: {said}")
        return found[1]

    def enrol_line(self, name: str) -> str:
        """What `toto host enrol` says to run on the target."""
        return run(self.command("host", "enrol", name, "--no-pin")).stdout

    def follow(self, push_id: str) -> None:
        """`toto follow`, shown as it goes on."""
        argv = self.command("follow", push_id)
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, preexec_fn=die_with_us)

    def states(self, push_id: str) -> dict[str, tuple[str, float]]:
        """Of each host of a push: how its run ended, and how long it took; `no-op` where there was none."""
        push = json.loads(run(self.command("pushes", push_id, "--json")).stdout)
        runs = {each["host"]: each for each in push["runs"]}
        found = {}
        for row in push["plan"]["hosts"]:
            host = row["host"]
            if host in runs:
                found[host] = (runs[host]["state"], seconds(runs[host]["created"], runs[host]["finished"]))
            else:
                found[host] = ("no-op" if row["action"] == "none" else row["action"], 0.0)
        return found


def seconds(began: str | None, ended: str | None) -> float:
    """Between two moments."""
    if began is None or ended is None:
        return 0.0
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


class Targets:
    """The demo's machines, by `script/target`."""

    def __init__(self, top: Path, names: Sequence[str]) -> None:
        self.top, self.names = top, tuple(names)
        self.made: dict[str, dict[str, object]] = {}

    def folder(self, name: str) -> Path:
        """Where a target lies."""
        return self.top / "targets" / name

    def call(self, verb: str, name: str, *more: str) -> str:
        """`script/target VERB`, as root."""
        return run([*root_command(), str(TARGET), verb, str(self.folder(name)), *more]).stdout

    def start(self) -> None:
        """Make and start all of them."""
        self.folder("").mkdir(parents=True, exist_ok=True)
        for name in self.names:
            http = ["--http-port", str(free_port(8080))] if name == "web" else []
            self.call("make", name, name, "--port", str(free_port(2201)), *http)
            self.call("up", name)
            self.made[name] = json.loads(self.call("status", name))
            print(f"{name}: 127.0.0.1 port {self.made[name]['port']}")

    def prepare(self) -> None:
        """What real machines have and nobody remembers: a leftover that says 503 wherever somebody includes it."""
        leftover = "location = / { return 503; }"
        self.root("web", f"mkdir -p /etc/nginx/local.d; echo '{leftover}' >/etc/nginx/local.d/legacy.conf")

    def root(self, name: str, command: str) -> str:
        """Run a line on a target, as its root would in a shell there."""
        return self.call("root", name, command)

    def http_port(self, name: str) -> int:
        """The port of the loopback that leads to a target's port 80; 0 where none does."""
        return int(str(self.made.get(name, {}).get("http_port") or 0))

    def service(self, name: str) -> str:
        """What a target's service answers."""
        if port := self.http_port(name):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    return str(answer.read().decode(errors="replace"))
            except (urllib.error.URLError, OSError) as error:
                return f"nothing ({error})"
        argv = [*root_command(), str(TARGET), "root", str(self.folder(name)), "redis-cli ping"]
        return subprocess.run(
            argv, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False
        ).stdout.strip()

    def gone(self) -> None:
        """End and remove them."""
        for name in self.names:
            if self.folder(name).exists():
                self.call("gone", name)


def copy_example(goal: Path) -> None:
    """The example fleet, as a user would copy it."""
    shutil.copytree(TOP / "examples" / "fleet", goal, dirs_exist_ok=True)

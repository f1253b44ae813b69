"""The demo: a toto on its embedded default, two real targets, four pushes, and what was expected of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fleet import Example
from parts import Targets, Toto, free_port, root_command, run


@dataclass(frozen=True)
class Outcome:
    """What a push did to a host, beside what was expected."""

    push: int
    host: str
    expected: str
    state: str
    seconds: float
    service: str

    @property
    def agrees(self) -> bool:
        """Whether it came as expected, the service's answer included."""
        return self.state == self.expected and self.service == "as expected"


@dataclass(frozen=True)
class Push:
    """One push of the demo: what is changed, and what must come of it."""

    number: int
    title: str
    expected: dict[str, str]
    page: str


PUSHES = (
    Push(1, "a first push: both hosts go up the whole ladder", {"web": "good", "db": "good"}, "release one"),
    Push(2, "only a README changes: nothing is built", {"web": "no-op", "db": "no-op"}, "release one"),
    Push(3, "web breaks: its tests in the VM say no", {"web": "failed", "db": "no-op"}, "release one"),
    Push(
        4,
        "web breaks on the real machine only: it is rolled back",
        {"web": "rolled-back", "db": "no-op"},
        "release one",
    ),
)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave all running, and print the dashboard's address")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what happened to FILE")
    parser.add_argument("--folder", metavar="DIR", type=Path, help="where to work (default: a new folder in /var/tmp)")
    return parser.parse_args()


def say(text: str) -> None:
    """A line of the demo's own."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def main() -> int:
    """Run the demo; 0 only where all came as expected."""
    given = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = given.folder or Path(tempfile.mkdtemp(prefix="toto-demo.", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: given.keep or run([*root_command(), "rm", "-rf", "--one-file-system", str(folder)]))
        toto = Toto(folder / "data", free_port(8686), "demo", secrets.token_urlsafe(9))
        stack.callback(lambda: given.keep or os.geteuid() or subprocess.run(toto.forget(), check=False))
        stack.callback(lambda: given.keep or toto.stop())
        targets = Targets(folder, ("web", "db"))
        stack.callback(lambda: given.keep or targets.gone())
        outcomes = story(folder, toto, targets)
        if given.json:
            given.json.write_text(json.dumps([row(outcome) for outcome in outcomes], indent=2) + "\n")
        agreed = table(outcomes)
        if given.keep:
            kept(toto, targets, folder)
            stack.pop_all()
    return 0 if agreed else 1


def row(outcome: Outcome) -> dict[str, object]:
    """An outcome as the demo's JSON has it."""
    return {**asdict(outcome), "seconds": round(outcome.seconds, 1), "agrees": outcome.agrees}


def story(folder: Path, toto: Toto, targets: Targets) -> list[Outcome]:
    """The four pushes."""
    say("Starting two targets: real Debian machines with systemd, dpkg and sshd of their own")
    targets.start()
    say("Starting toto")
    toto.start()
    remote = toto.add_repository("example")
    for name in targets.names:
        targets.root(name, toto.enrol_line(name))
    targets.prepare()
    example = Example(folder / "checkout", remote, targets)
    outcomes: list[Outcome] = []
    for push in PUSHES:
        say(f"\nPush {push.number}: {push.title}")
        began = time.monotonic()
        push_id = example.push(push.number)
        toto.follow(push_id)
        states = toto.states(push_id)
        for host, expected in push.expected.items():
            state, seconds = states.get(host, ("missing", 0.0))
            wanted = push.page if host == "web" else "PONG"
            answer = targets.service(host)
            service = "as expected" if wanted in answer else f"answers {answer[:60]!r}, not {wanted!r}"
            spent = seconds or time.monotonic() - began
            outcomes.append(Outcome(push.number, host, expected, state, spent, service))
    return outcomes


def table(outcomes: list[Outcome]) -> bool:
    """What was expected and what happened; True where all agree."""
    say("\npush  host  expected      happened      seconds  service")
    for outcome in outcomes:
        mark = "✓" if outcome.agrees else "✗"
        print(
            f"{outcome.push:<5} {outcome.host:<5} {outcome.expected:<13} {outcome.state:<13} "
            f"{outcome.seconds:>7.1f}  {outcome.service} {mark}"
        )
    agreed = len(outcomes) == sum(len(push.expected) for push in PUSHES) and all(each.agrees for each in outcomes)
    say("All came as expected." if agreed else "Something came otherwise than expected.")
    return agreed


def kept(toto: Toto, targets: Targets, folder: Path) -> None:
    """What is left running, and how to end it."""
    say(f"\nThe dashboard: {toto.address}  (log in as {toto.user}, password {toto.password})")
    for name in targets.names:
        if port := targets.http_port(name):
            print(f"The page of {name}: http://127.0.0.1:{port}/")
    print(f"To push more: {folder / 'checkout'}")
    ends = [f"kill {toto.pid}", *(f"script/target gone {targets.folder(name)}" for name in targets.names)]
    if os.geteuid() == 0:
        ends.append(" ".join(toto.forget()))
    print("To end it: " + "; ".join(ends) + f"; rm -rf {folder}")


if __name__ == "__main__":
    sys.exit(main())
